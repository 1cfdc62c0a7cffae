/**
 * Processor time per relayed packet, ours beside rtpengine in user space: `rtpload` sets the
 * calls up over NG, sends 50 packets a second each way and compares every payload.
 */
import { fileURLToPath } from 'node:url';
import { cable, type Place } from './network.ts';
import { finish, start } from './processes.ts';
import { type PartResult, say } from './report.ts';

const calls = 500;
const seconds = 10;
const relayAddress = '10.78.0.1';
const phoneAddresses = ['10.78.0.2', '10.78.0.3'];
const ng = `${relayAddress}:2223`;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** What `rtpload` prints. */
interface Load {
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

export async function measureRelay(): Promise<PartResult> {
  const built = await finish(
    ['cargo', 'build', '--quiet', '--release', '--package', 'raftpbx-bench'],
    900_000,
    root,
  );
  if (built.status !== 0) {
    throw new Error(`rtpload was not built: ${built.stderr.slice(-500)}`);
  }
  const [phones, relay] = cable(
    { namespace: 'pbxbnch-rtp', addresses: phoneAddresses },
    { namespace: 'pbxbnch-relay', addresses: [relayAddress] },
  );
  try {
    const rows: string[][] = [];
    // Twice in turn: single runs on a shared machine vary, neighbours in time compare.
    for (const pass of [1, 2]) {
      for (const [path, what] of ourPaths) {
        const ours = await measureOne(phones, relay, ourCommand(path), 'ready');
        rows.push(row(`raftpbx media, ${what}, pass ${pass}`, ours));
      }
      const theirs = await measureOne(phones, relay, rtpengineCommand(), 'Startup complete');
      rows.push(row(`rtpengine user space, pass ${pass}`, theirs));
    }
    return {
      part: 'relay',
      title: `Relay: ${calls} calls, ${calls * 100} packets a second, beside rtpengine`,
      notes: [
        `172-byte RTP for ${seconds} s over a veth pair, set up with NG offer and answer; every ` +
          'payload is compared at the other end.',
        'CPU is user and system time of the relay process, divided by packets relayed; latency is ' +
          'from the send call of one phone to the kernel time stamp at the other.',
        'Both relays share the processors with the load generator; its own CPU is shown because ' +
          'it should not differ between the rows.',
        'Where the kernel relays (`media.fastPath`), its work is in no process: the first second of ' +
          'the calls is what the relay is charged for, and latency tells the rest.',
        'rtpengine runs in user space (`--table=-1`) with two threads.',
      ],
      head: ['relay', 'pkt/s', 'lost', 'bad', 'CPU us/pkt', 'p50 us', 'p99 us', 'load us/pkt'],
      rows,
    };
  } finally {
    phones.remove();
    relay.remove();
  }
}

function row(name: string, load: Load): string[] {
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

/** Values of `--path`, and what they mean. */
const ourPaths = [
  ['auto', 'kernel'],
  ['epoll', 'threads'],
] as const;

function ourCommand(path: string): string[] {
  const node = [process.execPath, `${root}src/cli/index.ts`];
  return [...node, 'media', '--interface', relayAddress, '--ng', ng].concat([
    ...['--ports', '20000-59999', '--path', path],
  ]);
}

function rtpengineCommand(): string[] {
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

async function measureOne(
  phones: Place,
  relay: Place,
  command: readonly string[],
  ready: string,
): Promise<Load> {
  const server = await start(relay.command(command), ready);
  try {
    const argv = [`${root}target/release/rtpload`, '--ng', ng];
    const ends = ['--a-ip', phoneAddresses[0] ?? '', '--b-ip', phoneAddresses[1] ?? ''];
    const size = ['--calls', String(calls), '--secs', String(seconds)];
    say(`rtpload at ${command.find((word) => /^(rtpengine|media)$/.test(word))}`);
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
