/**
 * The members that a configuration asks for, against those that the cluster has. Pure but for
 * `reportDifference`: nothing is changed before somebody says `raftpbx member apply`.
 */
import { joinAddress } from '../config/address.ts';
import type { Log } from '../domain/log.ts';
import type { Store, StoreAddress, StoreMember, StoreMemberChange } from '../native/index.ts';

/** A Call Manager as `cluster.peers` of a configuration names it. */
export interface WantedMember {
  id: number;
  name: string;
  address: string;
}

/** The ports of the store, the same on every Call Manager. */
export interface StorePorts {
  raft: number;
  resp: number;
}

/** How the node of a server is reached. */
export function addressOf(
  server: { name: string; address: string },
  ports: StorePorts,
): Omit<StoreAddress, 'id'> {
  return {
    name: server.name,
    raft: joinAddress(server.address, ports.raft),
    resp: joinAddress(server.address, ports.resp),
  };
}

/**
 * What has to be changed, in an order that never has fewer voters than before until the end. A
 * wanted node whose server has a member under another id takes the place of that member.
 */
export function planMembers(
  wanted: readonly WantedMember[],
  members: readonly StoreMember[],
  ports: StorePorts,
): StoreMemberChange[] {
  const isWanted = (id: number) => wanted.some((one) => one.id === id);
  const leaving = members.filter((member) => !isWanted(member.id));
  const replaced = new Set<number>();
  const changes = wanted.flatMap((one): StoreMemberChange[] => {
    const { id } = one;
    const present = members.find((member) => member.id === id);
    if (present !== undefined) {
      return present.voter ? [] : [{ type: 'promote', id }];
    }
    const address = addressOf(one, ports);
    const old = leaving.find((member) => member.name === one.name && member.voter);
    if (old !== undefined && !replaced.has(old.id)) {
      replaced.add(old.id);
      return [{ type: 'replace', old: old.id, new: id, address }];
    }
    return [
      { type: 'add', id, address },
      { type: 'promote', id },
    ];
  });
  const removals = leaving
    .filter((member) => !replaced.has(member.id))
    .map(({ id }): StoreMemberChange => ({ type: 'remove', id }));
  return [...changes, ...removals];
}

/** A change in words. */
export function describeChange(change: StoreMemberChange): string {
  switch (change.type) {
    case 'add':
      return `add node ${change.id} (${change.address.name}) at ${change.address.raft}`;
    case 'replace':
      return `replace node ${change.old} by node ${change.new}`;
    default:
      return `${change.type} node ${change.id}`;
  }
}

/** Logs, whenever this node begins to lead, what differs from its configuration. */
export function reportDifference(
  store: Store,
  wanted: () => readonly WantedMember[],
  ports: StorePorts,
  log: Log,
): void {
  store.watch([], (events) => {
    if (!events.some((event) => event.type === 'leading')) {
      return;
    }
    const changes = planMembers(wanted(), store.members(), ports).map(describeChange);
    if (changes.length > 0) {
      const text = 'the members differ from cluster.peers; see raftpbx member apply --dry-run';
      log.warn({ changes }, text);
    }
  });
}
