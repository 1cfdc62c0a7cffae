/**
 * The network of a cluster under test: a namespace for every node and one for its clients, on a
 * bridge in a namespace of its own. Packets between two nodes can be dropped one way or both
 * ways, dropped by chance, or held back by a slow cable.
 */
import { existsSync } from 'node:fs';
import { existingNamespaces, inNamespace, processesIn } from '../../../src/lab/network.ts';
import { attempt, run } from '../../../src/lab/shell.ts';

const base = 'flt';
const subnet = '10.79.0';
const bridge = 'br0';

/** Which packets arriving at `at` are dropped. */
export interface Drop {
  at: number;
  from: number;
  percent: number;
}

export class FaultNetwork {
  readonly #prefix: string;
  readonly #nodes: readonly number[];

  /** `owner` begins with the id of the process that makes it: runs side by side do not meet. */
  constructor(nodes: readonly number[], owner: string) {
    this.#nodes = nodes;
    this.#prefix = `${base}-${owner}`;
  }

  make(): void {
    removeLeftOvers();
    const hub = this.#namespace('sw');
    run(['ip', 'netns', 'add', hub]);
    run(['ip', '-n', hub, 'link', 'add', bridge, 'type', 'bridge', 'stp_state', '0']);
    run(['ip', '-n', hub, 'link', 'set', bridge, 'up']);
    for (const node of this.#nodes) {
      this.#plugIn(String(node), addressOf(node));
    }
    this.#plugIn('clients', `${subnet}.200`);
  }

  /** The command line that runs something at a node. */
  at(node: number, command: readonly string[]): string[] {
    return inNamespace(this.#namespace(String(node)), command);
  }

  /** The command line that runs something at the clients. */
  atClients(command: readonly string[]): string[] {
    return inNamespace(this.#namespace('clients'), command);
  }

  /** From now on drops exactly these packets. */
  drop(drops: readonly Drop[]): void {
    for (const node of this.#nodes) {
      const rules = drops
        .filter(({ at }) => at === node)
        .map(({ from, percent }) => {
          const some = percent < 100 ? `numgen random mod 100 < ${percent} ` : '';
          return `ip saddr ${addressOf(from)} ${some}counter drop`;
        });
      const hook = 'type filter hook input priority 0;';
      const text = [
        'add table ip faults',
        'delete table ip faults',
        'table ip faults {',
        'chain arriving {',
        hook,
        ...rules,
        '}',
        '}',
      ];
      run(this.at(node, ['nft', '-f', '-']), `${text.join('\n')}\n`);
    }
  }

  /** Packets that were dropped since the last `drop`. */
  dropped(): number {
    const counts = this.#nodes.flatMap((node) => {
      const text = run(this.at(node, ['nft', 'list', 'ruleset']));
      return [...text.matchAll(/counter packets (\d+)/g)].map((match) => Number(match[1]));
    });
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Holds everything back that the node sends above `kilobits` a second; null: full speed. */
  slow(node: number, kilobits: number | null): void {
    const device = ['dev', 'eth0', 'root'];
    attempt(this.at(node, ['tc', 'qdisc', 'del', ...device]));
    if (kilobits !== null) {
      const shape = ['rate', `${kilobits}kbit`, 'burst', '4kb', 'latency', '500ms'];
      run(this.at(node, ['tc', 'qdisc', 'add', ...device, 'tbf', ...shape]));
    }
  }

  /** Packets that a slow cable has held back or dropped. */
  heldBack(node: number): number {
    const text = run(this.at(node, ['tc', '-s', 'qdisc', 'show', 'dev', 'eth0']));
    const [, dropped, over] = /dropped (\d+), overlimits (\d+)/.exec(text) ?? [];
    return Number(dropped ?? 0) + Number(over ?? 0);
  }

  /** Ends what still runs in it and removes it. */
  remove(): void {
    existingNamespaces(this.#prefix).forEach(removeNamespace);
  }

  #namespace(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #plugIn(name: string, address: string): void {
    const [namespace, hub] = [this.#namespace(name), this.#namespace('sw')];
    const port = `port-${name}`;
    run(['ip', 'netns', 'add', namespace]);
    const peer = ['peer', 'name', port, 'netns', hub];
    run(['ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', ...peer]);
    run(['ip', '-n', hub, 'link', 'set', port, 'master', bridge, 'up']);
    for (const end of [
      ['set', 'lo', 'up'],
      ['set', 'eth0', 'up'],
    ]) {
      run(['ip', '-n', namespace, 'link', ...end]);
    }
    run(['ip', '-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0']);
  }
}

/** The address of node 1, 2, ... */
export function addressOf(node: number): string {
  return `${subnet}.${node}`;
}

/** Namespaces of runs that were killed. */
function removeLeftOvers(): void {
  for (const namespace of existingNamespaces(base)) {
    const owner = namespace.split('-')[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) {
      removeNamespace(namespace);
    }
  }
}

function removeNamespace(namespace: string): void {
  const pids = processesIn(namespace);
  if (pids.length > 0) {
    attempt(['kill', '-9', ...pids.map(String)]);
  }
  attempt(['ip', 'netns', 'del', namespace]);
}
