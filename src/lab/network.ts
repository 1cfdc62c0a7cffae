/**
 * The lab's network: every server in a namespace of its own, all on one bridge that stands in a
 * namespace as well, so that nothing touches the network of the machine.
 *
 *   rpbx-cm-1 [eth0]---.
 *   rpbx-cm-2 [eth0]---+--- rpbx-sw [br0] ---[eth0] rpbx-phones (.200 - .250)
 *   rpbx-media-1 [eth0]'
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { bridgeName, type LabPlan, labMediaPorts } from './plan.ts';
import { attempt, run } from './shell.ts';

/** Where iproute2 keeps named namespaces. */
const namespaceDirectory = '/run/netns';

/** The file of a namespace, for nsenter. */
export function namespaceFile(namespace: string): string {
  return `${namespaceDirectory}/${namespace}`;
}

export function namespaceExists(namespace: string): boolean {
  return existsSync(namespaceFile(namespace));
}

/** Whether this process is in that namespace already. */
export function isInNamespace(namespace: string): boolean {
  const file = namespaceFile(namespace);
  return existsSync(file) && statSync(file).ino === statSync('/proc/self/ns/net').ino;
}

/** The command line that runs something in a namespace; the process keeps its id. */
export function inNamespace(namespace: string, command: readonly string[]): string[] {
  return ['nsenter', `--net=${namespaceFile(namespace)}`, '--', ...command];
}

/** Namespaces of the lab with this prefix that exist. */
export function existingNamespaces(prefix: string): string[] {
  if (!existsSync(namespaceDirectory)) {
    return [];
  }
  return readdirSync(namespaceDirectory).filter((name) => name.startsWith(`${prefix}-`));
}

/** Makes the switch and a namespace for every server and for the phones; keeps what is there. */
export function makeNetwork(plan: LabPlan): void {
  makeSwitch(plan.switchNamespace);
  plan.servers.forEach((server) => {
    const host = server.address.slice(server.address.lastIndexOf('.') + 1);
    makePort(plan, server.namespace, server.name, Number(host), [
      `${server.address}/24`,
      `${server.address6}/64`,
    ]);
    if (server.roles.includes('media')) {
      // Else a program there may be given a port that a call wants.
      const reserved = `net.ipv4.ip_local_reserved_ports=${labMediaPorts}`;
      run(inNamespace(server.namespace, ['sysctl', '-qw', reserved]));
    }
  });
  makePort(plan, plan.phonesNamespace, 'phones', 200, [
    ...plan.phones.map((address) => `${address}/24`),
    ...plan.phones6.map((address) => `${address}/64`),
  ]);
}

/** Removes every namespace of the lab; what runs in them must be gone. */
export function removeNetwork(prefix: string): string[] {
  const removed = existingNamespaces(prefix);
  for (const namespace of removed) {
    run(['ip', 'netns', 'del', namespace]);
  }
  return removed;
}

/** Processes whose network is this namespace. */
export function processesIn(namespace: string): number[] {
  if (!namespaceExists(namespace)) {
    return [];
  }
  const text = run(['ip', 'netns', 'pids', namespace]);
  return text.split('\n').filter(Boolean).map(Number);
}

/** Unplugs or plugs the cable of a server. */
export function setLink(plan: LabPlan, port: string, up: boolean): void {
  run(['ip', '-n', plan.switchNamespace, 'link', 'set', port, up ? 'up' : 'down']);
}

function makeSwitch(namespace: string): void {
  if (namespaceExists(namespace)) {
    return;
  }
  run(['ip', 'netns', 'add', namespace]);
  batch(namespace, [
    'link set lo up',
    `link add ${bridgeName} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `link set ${bridgeName} up`,
  ]);
}

function makePort(
  plan: LabPlan,
  namespace: string,
  port: string,
  host: number,
  addresses: string[],
): void {
  if (namespaceExists(namespace)) {
    if (attempt(['ip', '-n', namespace, 'link', 'show', 'eth0'])) {
      return;
    }
    run(['ip', 'netns', 'del', namespace]);
  }
  run(['ip', 'netns', 'add', namespace]);
  const mac = `02:77:00:00:00:${host.toString(16).padStart(2, '0')}`;
  const peer = `peer name ${port} netns ${plan.switchNamespace}`;
  batch(null, [`link add eth0 netns ${namespace} address ${mac} type veth ${peer}`]);
  batch(plan.switchNamespace, [`link set ${port} master ${bridgeName} up`]);
  // Addresses must answer at once: no duplicate address detection.
  const quiet = ['all', 'default', 'eth0'].map((name) => `net.ipv6.conf.${name}.accept_dad=0`);
  run(inNamespace(namespace, ['sysctl', '-qw', ...quiet]));
  batch(namespace, [
    'link set lo up',
    'link set eth0 up',
    ...addresses.map((one) => `addr add ${one} dev eth0${one.includes(':') ? ' nodad' : ''}`),
  ]);
}

function batch(namespace: string | null, lines: string[]): void {
  const where = namespace === null ? [] : ['-n', namespace];
  run(['ip', ...where, '-batch', '-'], `${lines.join('\n')}\n`);
}
