// Established flows of plain RTP, relayed at the ingress of an interface (tcx) without a wake-up
// of the media engine. Whatever is not exactly as the engine described it goes on to its sockets:
// other sources, other SSRCs, jumps of the sequence, RTCP, STUN, events, header extensions,
// fragments. So the program never decides anything that the engine would decide otherwise.
//
// `crates/media/bpf/build` makes relay.bpf.o of this file; both are committed, because a machine
// that builds raftpbx need not have clang. The layouts are those of `fastpath/layout.rs`.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline
#define htons(value) __builtin_bswap16(value)
#define ntohs(value) __builtin_bswap16(value)
#define ntohl(value) __builtin_bswap32(value)

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const monotonic_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const pull)(struct __sk_buff *, __u32 bytes) = (void *)BPF_FUNC_skb_pull_data;
static long (*const store)(struct __sk_buff *, __u32 at, const void *from, __u32 bytes,
                           __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const replace)(struct __sk_buff *, __u32 at, __u64 from, __u64 to,
                             __u64 flags) = (void *)BPF_FUNC_l4_csum_replace;
static __s64 (*const difference)(const void *from, __u32 from_bytes, const void *to,
                                 __u32 to_bytes, __u32 seed) = (void *)BPF_FUNC_csum_diff;
static long (*const redirect)(__u32 ifindex, void *next_hop, int bytes,
                              __u64 flags) = (void *)BPF_FUNC_redirect_neigh;

struct bpf_map_def {
  __u32 type, key_size, value_size, max_entries, map_flags;
};

// A port of ours that a party sends to. IPv4 addresses stand in the first word.
struct place {
  __u32 address[4];
  __u16 port;
  __u16 family;
};

struct flow {
  __u32 from[4];    // the party
  __u32 source[4];  // our address towards the other party
  __u32 target[4];  // the other party
  __u16 from_port, source_port, target_port;
  __u16 mtu;        // largest IP packet of the interface
  __u32 ifindex;    // where the other party is
  __u32 ssrc;
  __u32 tally;      // index of its counters
  __u32 clock_hz;
  __u64 refused[2]; // payload types that are the engine's, a bit each
  __u8 tos;
  __u8 unused[7];
};

// RFC 3550 appendix A, as `stream::Quality` has it.
struct tally {
  __u64 packets, bytes, last_ns;
  __u32 transit;
  __u32 jitter_scaled;
  __u32 timestamp;
  __u16 sequence;
  __u16 unused;
};

struct bpf_map_def SEC("maps") flows = {
    BPF_MAP_TYPE_HASH, sizeof(struct place), sizeof(struct flow), 65536, BPF_F_NO_PREALLOC};
// Mapped into the engine's memory: reading thousands of counters costs no system call.
struct bpf_map_def SEC("maps") tallies = {
    BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct tally), 65536, BPF_F_MMAPABLE};

// Of linux/bpf.h since 6.6: TCX_NEXT, TCX_DROP.
#define PASS (-1)
#define DROP 2
// `stream::DROPOUT_MAX`.
#define DROPOUT_MAX 3000
#define HOPS 64

struct rtp {
  __u8 first, second;
  __u16 sequence;
  __u32 timestamp, ssrc;
};

// The flow of a packet, counted, when it is one to be relayed here.
INLINE struct flow *judge(const struct place *place, const __u32 *from, const struct udphdr *udp,
                          const struct rtp *rtp, __u32 ip_bytes) {
  // Version 2 without extension and contributing sources; the engine checks all others.
  if ((rtp->first & 0xdf) != 0x80)
    return 0;
  struct flow *flow = map_lookup(&flows, place);
  if (!flow || flow->ssrc != rtp->ssrc || flow->from_port != udp->source || ip_bytes > flow->mtu)
    return 0;
  if (flow->from[0] != from[0] || flow->from[1] != from[1] || flow->from[2] != from[2] ||
      flow->from[3] != from[3])
    return 0;
  __u32 type = rtp->second & 0x7f;
  __u64 refused = type < 64 ? flow->refused[0] : flow->refused[1];
  if (refused >> (type & 63) & 1)
    return 0;
  __u32 index = flow->tally;
  struct tally *tally = map_lookup(&tallies, &index);
  if (!tally)
    return 0;

  __u16 sequence = ntohs(rtp->sequence);
  __u16 step = sequence - tally->sequence;
  if (step > DROPOUT_MAX && step < 65535 - DROPOUT_MAX)
    return 0;
  __u64 now_ns = monotonic_ns();
  __u32 timestamp = ntohl(rtp->timestamp);
  __u32 transit = (__u32)(now_ns / 1000 * flow->clock_hz / 1000000) - timestamp;
  __s32 change = transit - tally->transit;
  __u32 jitter = tally->jitter_scaled;
  tally->jitter_scaled = jitter + (change < 0 ? -change : change) - ((jitter + 8) >> 4);
  tally->transit = transit;
  if (step < 0x8000) {
    tally->sequence = sequence;
    tally->timestamp = timestamp;
  }
  tally->last_ns = now_ns;
  __sync_fetch_and_add(&tally->bytes, ntohs(udp->len) - sizeof(struct udphdr));
  __sync_fetch_and_add(&tally->packets, 1);
  return flow;
}

INLINE __u16 header_sum(const struct iphdr *ip) {
  const __u16 *words = (const __u16 *)ip;
  __u32 sum = 0;
#pragma unroll
  for (int n = 0; n < 10; n++)
    sum += words[n];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

// The helpers for checksums also know packets whose checksum the hardware is yet to write.
INLINE long put_ports(struct __sk_buff *skb, __u32 udp_at, const struct udphdr *udp,
                      const struct flow *flow, __s64 addresses) {
  __u32 sum_at = udp_at + __builtin_offsetof(struct udphdr, check);
  __u16 ports[2] = {flow->source_port, flow->target_port};
  __u32 old, new;
  __builtin_memcpy(&old, udp, sizeof old);
  __builtin_memcpy(&new, ports, sizeof new);
  return replace(skb, sum_at, 0, addresses, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0) ||
         replace(skb, sum_at, old, new, BPF_F_MARK_MANGLED_0 | sizeof new) ||
         store(skb, udp_at, &new, sizeof new, 0);
}

INLINE int relay_ipv4(struct __sk_buff *skb) {
  const __u32 udp_at = ETH_HLEN + sizeof(struct iphdr);
  const __u32 needed = udp_at + sizeof(struct udphdr) + sizeof(struct rtp);
  void *data = (void *)(long)skb->data;
  if (data + needed > (void *)(long)skb->data_end) {
    if (skb->len < needed || pull(skb, needed))
      return PASS;
    data = (void *)(long)skb->data;
    if (data + needed > (void *)(long)skb->data_end)
      return PASS;
  }
  struct iphdr ip = *(struct iphdr *)(data + ETH_HLEN);
  // Neither options nor fragments.
  if (ip.ihl != 5 || ip.version != 4 || ip.protocol != IPPROTO_UDP || ip.frag_off & htons(0x3fff))
    return PASS;
  struct udphdr udp = *(struct udphdr *)(data + udp_at);
  struct rtp rtp = *(struct rtp *)(data + udp_at + sizeof udp);
  __u32 ip_bytes = ntohs(ip.tot_len);
  if (ip_bytes + ETH_HLEN > skb->len || ntohs(udp.len) + sizeof ip != ip_bytes ||
      ntohs(udp.len) < sizeof udp + sizeof rtp)
    return PASS;
  struct place place = {.address = {ip.daddr}, .port = udp.dest, .family = 4};
  __u32 from[4] = {ip.saddr};
  struct flow *flow = judge(&place, from, &udp, &rtp, ip_bytes);
  if (!flow)
    return PASS;

  __u32 old[2] = {ip.saddr, ip.daddr}, new[2] = {flow->source[0], flow->target[0]};
  __s64 addresses = difference(old, sizeof old, new, sizeof new, 0);
  if (put_ports(skb, udp_at, &udp, flow, addresses))
    return DROP;
  ip.saddr = new[0];
  ip.daddr = new[1];
  ip.ttl = HOPS;
  ip.tos = flow->tos;
  ip.check = 0;
  ip.check = header_sum(&ip);
  if (store(skb, ETH_HLEN, &ip, sizeof ip, 0))
    return DROP;
  return redirect(flow->ifindex, 0, 0, 0);
}

INLINE int relay_ipv6(struct __sk_buff *skb) {
  const __u32 udp_at = ETH_HLEN + sizeof(struct ipv6hdr);
  const __u32 needed = udp_at + sizeof(struct udphdr) + sizeof(struct rtp);
  void *data = (void *)(long)skb->data;
  if (data + needed > (void *)(long)skb->data_end) {
    if (skb->len < needed || pull(skb, needed))
      return PASS;
    data = (void *)(long)skb->data;
    if (data + needed > (void *)(long)skb->data_end)
      return PASS;
  }
  struct ipv6hdr ip = *(struct ipv6hdr *)(data + ETH_HLEN);
  if (ip.version != 6 || ip.nexthdr != IPPROTO_UDP)
    return PASS;
  struct udphdr udp = *(struct udphdr *)(data + udp_at);
  struct rtp rtp = *(struct rtp *)(data + udp_at + sizeof udp);
  __u32 ip_bytes = ntohs(ip.payload_len) + sizeof ip;
  if (ip_bytes + ETH_HLEN > skb->len || ntohs(udp.len) + sizeof ip != ip_bytes ||
      ntohs(udp.len) < sizeof udp + sizeof rtp || udp.check == 0)
    return PASS;
  struct place place = {.port = udp.dest, .family = 6};
  __u32 old[8], new[8], from[4];
  __builtin_memcpy(old, &ip.saddr, sizeof old);
  __builtin_memcpy(from, &ip.saddr, sizeof from);
  __builtin_memcpy(place.address, &ip.daddr, sizeof place.address);
  struct flow *flow = judge(&place, from, &udp, &rtp, ip_bytes);
  if (!flow)
    return PASS;

  __builtin_memcpy(new, flow->source, sizeof flow->source);
  __builtin_memcpy(new + 4, flow->target, sizeof flow->target);
  __s64 addresses = difference(old, sizeof old, new, sizeof new, 0);
  if (put_ports(skb, udp_at, &udp, flow, addresses))
    return DROP;
  // Version, traffic class and no flow label.
  __u8 head[4] = {0x60 | flow->tos >> 4, flow->tos << 4, 0, 0};
  __builtin_memcpy(&ip, head, sizeof head);
  __builtin_memcpy(&ip.saddr, new, sizeof new);
  ip.hop_limit = HOPS;
  if (store(skb, ETH_HLEN, &ip, sizeof ip, 0))
    return DROP;
  return redirect(flow->ifindex, 0, 0, 0);
}

SEC("classifier") int relay(struct __sk_buff *skb) {
  // What was put together of several datagrams, and what is tagged, is the engine's.
  if (skb->gso_size || skb->vlan_present)
    return PASS;
  if (skb->protocol == htons(ETH_P_IP))
    return relay_ipv4(skb);
  if (skb->protocol == htons(ETH_P_IPV6))
    return relay_ipv6(skb);
  return PASS;
}

char SEC("license") licence_of_program[] = "Apache-2.0";
