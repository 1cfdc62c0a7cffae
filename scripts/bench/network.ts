/**
 * Namespaces of the benchmarks: on the lab's switch when our servers are measured beside
 * others, so that every packet takes the same path, or a pair of their own for RTP.
 */
import { attempt, run } from '../../src/lab/shell.ts';

/** A namespace and how to undo it. */
export interface Place {
  namespace: string;
  command(argv: readonly string[]): string[];
  remove(): void;
}

/** Makes `namespace` with `addresses`, plugged into `bridge` of the namespace `switchNamespace`. */
export function plugIn(
  namespace: string,
  switchNamespace: string,
  bridge: string,
  addresses: readonly string[],
): Place {
  attempt(['ip', 'netns', 'del', namespace]);
  run(['ip', 'netns', 'add', namespace]);
  const port = namespace.replace('rpbx-', '');
  const peer = ['peer', 'name', port, 'netns', switchNamespace];
  run(['ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', ...peer]);
  run(['ip', '-n', switchNamespace, 'link', 'set', port, 'master', bridge, 'up']);
  raise(namespace, 'eth0', addresses);
  return placeOf(namespace);
}

/** Two namespaces joined by one cable. */
export function cable(
  a: { namespace: string; addresses: string[] },
  b: { namespace: string; addresses: string[] },
): [Place, Place] {
  for (const { namespace } of [a, b]) {
    attempt(['ip', 'netns', 'del', namespace]);
    run(['ip', 'netns', 'add', namespace]);
  }
  const peer = ['peer', 'name', 'eth0', 'netns', b.namespace];
  run(['ip', 'link', 'add', 'eth0', 'netns', a.namespace, 'type', 'veth', ...peer]);
  raise(a.namespace, 'eth0', a.addresses);
  raise(b.namespace, 'eth0', b.addresses);
  return [placeOf(a.namespace), placeOf(b.namespace)];
}

function raise(namespace: string, link: string, addresses: readonly string[]): void {
  run(['ip', '-n', namespace, 'link', 'set', 'lo', 'up']);
  for (const address of addresses) {
    run(['ip', '-n', namespace, 'addr', 'add', `${address}/24`, 'dev', link]);
  }
  run(['ip', '-n', namespace, 'link', 'set', link, 'up']);
}

function placeOf(namespace: string): Place {
  return {
    namespace,
    command: (argv) => ['ip', 'netns', 'exec', namespace, ...argv],
    remove: () => {
      attempt(['ip', 'netns', 'del', namespace]);
    },
  };
}
