// Leads datagrams for the media ports of calls to the socket of the worker that has the call, so
// that no port needs a socket of its own. Ports that no call has are looked up as ever.
//
// `crates/media/bpf/build` makes steer.bpf.o of this file; both are committed, because a machine
// that builds raftpbx need not have clang. The layouts are those of `packet_io/steering.rs`.

#include <linux/bpf.h>
#include <linux/in.h>

#define SEC(name) __attribute__((section(name), used))
#define IPV4 2
#define IPV6 10

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const assign)(struct bpf_sk_lookup *, struct bpf_sock *,
                            __u64 flags) = (void *)BPF_FUNC_sk_assign;
static long (*const release)(struct bpf_sock *) = (void *)BPF_FUNC_sk_release;

struct bpf_map_def {
  __u32 type, key_size, value_size, max_entries, map_flags;
};

// An address of ours. IPv4 addresses stand in the first word.
struct address {
  __u32 words[4];
  __u32 family;
};

// Where the ports of an address begin in `owners`.
struct bpf_map_def SEC("maps") addresses = {BPF_MAP_TYPE_HASH, sizeof(struct address),
                                            sizeof(__u32), 4, 0};
// One more than the place of the worker's socket; 0: the port is nobody's. Mapped into the engine's
// memory: a call costs no system call.
struct bpf_map_def SEC("maps") owners = {BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(__u64),
                                         4 * 65536, BPF_F_MMAPABLE};
struct bpf_map_def SEC("maps") sockets = {BPF_MAP_TYPE_SOCKMAP, sizeof(__u32), sizeof(__u32), 128,
                                          0};

SEC("sk_lookup") int steer(struct bpf_sk_lookup *packet) {
  if (packet->protocol != IPPROTO_UDP)
    return SK_PASS;
  struct address address = {.family = packet->family};
  if (packet->family == IPV4) {
    address.words[0] = packet->local_ip4;
  } else if (packet->family == IPV6) {
    address.words[0] = packet->local_ip6[0];
    address.words[1] = packet->local_ip6[1];
    address.words[2] = packet->local_ip6[2];
    address.words[3] = packet->local_ip6[3];
  }
  __u32 *first = map_lookup(&addresses, &address);
  if (!first)
    return SK_PASS;
  __u32 port = *first + packet->local_port;
  __u64 *owner = map_lookup(&owners, &port);
  if (!owner || !*owner)
    return SK_PASS;
  __u32 place = *owner - 1;
  struct bpf_sock *socket = map_lookup(&sockets, &place);
  if (!socket)
    return SK_PASS;
  // When another program has chosen before, its choice stays.
  assign(packet, socket, 0);
  release(socket);
  return SK_PASS;
}

char SEC("license") licence_of_program[] = "Apache-2.0";
