/** `rtpload` at a relay: ours or rtpengine, each in a namespace of its own. */
import { fileURLToPath } from 'node:url';
import { cable, type Place } from './network.ts';
import { finish, start } from './processes.ts';
import { say } from './report.ts';

const relayAddress = '10.78.0.1';
const phoneAddresses = ['10.78.0.2', '10.78.0.3'];
const ng = `${relayAddress}:2223`;
/** Where a relay answers commands. */
export const ngAddress = ng;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** What `rtpload` prints. */
export interface Load {
  seconds: number;
  received: number;
  lost: number;
  bad: number;
  latency_us_p50: number;
  latency_us_p99: number;
  cpu_us_per_packet: number;
  generator_cpu_s: number;
  late_slots: number;
}

/** How much of what. */
export interface LoadSize {
  calls: number;
  seconds: number;
  /** What the called phones speak. */
  profile: string;
}

/** Builds the load programs; runs `measure` between two namespaces, which it removes afterwards. */
export async function withRelay<T>(
  measure: (phones: Place, relay: Place) => Promise<T>,
): Promise<T> {
  const built = await finish(
    ['cargo', 'build', '--quiet', '--release', '--package', 'raftpbx-bench'],
    900_000,
    root,
  );
  if (built.status !== 0) {
    throw new Error(`the load programs were not built: ${built.stderr.slice(-500)}`);
  }
  const [phones, relay] = cable(
    { namespace: 'pbxbnch-rtp', addresses: phoneAddresses },
    { namespace: 'pbxbnch-relay', addresses: [relayAddress] },
  );
  try {
    return await measure(phones, relay);
  } finally {
    phones.remove();
    relay.remove();
  }
}

/** The columns of `loadRow`. */
export const loadColumns = [
  ...['relay', 'pkt/s', 'lost', 'bad', 'CPU us/pkt', 'p50 us', 'p99 us', 'load us/pkt'],
];

export function loadRow(name: string, load: Load): string[] {
  return [
    name,
    (load.received / load.seconds).toFixed(0),
    String(load.lost),
    String(load.bad),
    load.cpu_us_per_packet.toFixed(2),
    String(load.latency_us_p50),
    String(load.latency_us_p99),
    ((load.generator_cpu_s * 1e6) / load.received).toFixed(2),
  ];
}

/** Our media server; `path` is `auto`, or the way in which threads move all packets. */
export function ourCommand(path: string): string[] {
  const node = [process.execPath, `${root}src/cli/index.ts`];
  return [...node, 'media', '--interface', relayAddress, '--ng', ng].concat([
    ...['--ports', '20000-59999', '--path', path],
  ]);
}

export function rtpengineCommand(): string[] {
  // Level 6 is where it says that it is ready; it logs commands there, not packets.
  const log = ['-f', '-E', '-L', '6', '--config-file=none', '--table=-1', '--num-threads=2'];
  return [
    'rtpengine',
    ...log,
    '--delete-delay=0',
    `--interface=${relayAddress}`,
    `--listen-ng=${ng}`,
  ].concat([...['-m', '20000', '-M', '59999']]);
}

/** One run against a server that is started for it. */
export async function loadOf(
  phones: Place,
  relay: Place,
  command: readonly string[],
  ready: string,
  { calls, seconds, profile }: LoadSize,
): Promise<Load> {
  const server = await start(relay.command(command), ready);
  try {
    const argv = [`${root}target/release/rtpload`, '--ng', ng];
    const ends = ['--a-ip', phoneAddresses[0] ?? '', '--b-ip', phoneAddresses[1] ?? ''];
    const size = ['--calls', calls, '--secs', seconds, '--profile', profile].map(String);
    say(`rtpload ${profile} at ${command.find((word) => /^(rtpengine|media)$/.test(word))}`);
    const run = await finish(
      phones.command([...argv, ...ends, ...size, '--pid', String(server.pid)]),
      (seconds + 30) * 1000,
    );
    const line = /^\{.*\}$/m.exec(run.stdout)?.[0];
    if (run.status !== 0 || line === undefined) {
      throw new Error(`rtpload failed (${run.status}): ${run.stderr.slice(-500)}`);
    }
    return JSON.parse(line) as Load;
  } finally {
    await server.stop();
  }
}
