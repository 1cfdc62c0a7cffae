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

/** What `rtpload run` prints. */
interface Load {
  rx_pps: number;
  loss_pct: number;
  lat_us: [number, number, number];
  us_cpu_per_pkt: number;
  total_us_per_pkt: number;
  bad: number;
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
      const ours = await measureOne(phones, relay, ourCommand(), 'ready');
      rows.push(row(`raftpbx media, pass ${pass}`, ours));
      const theirs = await measureOne(phones, relay, rtpengineCommand(), null);
      rows.push(row(`rtpengine user space, pass ${pass}`, theirs));
    }
    return {
      part: 'relay',
      title: `Relay: ${calls} calls, ${calls * 100} packets a second, beside rtpengine`,
      notes: [
        `172-byte RTP for ${seconds} s over a veth pair, set up with NG offer and answer; every ` +
          'payload is compared at the other end.',
        'Relay CPU is user and system time of the relay; total adds the load generator and ' +
          'ksoftirqd, which do the kernel part of the work.',
        'rtpengine runs in user space (`--table=-1`) with two threads.',
      ],
      head: ['relay', 'pkt/s', 'loss %', 'bad', 'relay us/pkt', 'total us/pkt', 'p50 us', 'p99 us'],
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
    load.rx_pps.toFixed(0),
    load.loss_pct.toFixed(3),
    String(load.bad),
    load.us_cpu_per_pkt.toFixed(2),
    load.total_us_per_pkt.toFixed(2),
    String(load.lat_us[0]),
    String(load.lat_us[1]),
  ];
}

function ourCommand(): string[] {
  const node = [process.execPath, `${root}src/cli/index.ts`];
  return [...node, 'media', '--interface', relayAddress, '--ng', ng, '--ports', '20000-59999'];
}

function rtpengineCommand(): string[] {
  const log = ['-f', '-E', '-L', '3', '--table=-1', '--delete-delay=0', '--num-threads=2'];
  return ['rtpengine', ...log, `--interface=${relayAddress}`, `--listen-ng=${ng}`].concat([
    ...['-m', '20000', '-M', '59999'],
  ]);
}

async function measureOne(
  phones: Place,
  relay: Place,
  command: readonly string[],
  ready: string | null,
): Promise<Load> {
  const server = await start(relay.command(command), ready);
  try {
    const argv = [`${root}target/release/rtpload`, 'run', '--mode', 'ng', '--ng', ng];
    const ends = ['--a-ip', phoneAddresses[0] ?? '', '--b-ip', phoneAddresses[1] ?? ''];
    const size = ['--calls', String(calls), '--secs', String(seconds), '--warm', '2', '--verify'];
    say(`rtpload at ${command[0]}`);
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
