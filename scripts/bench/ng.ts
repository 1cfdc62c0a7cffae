/**
 * What signalling costs a relay: `ngload` sets calls up and takes them down as fast as they are
 * answered, at ours and at rtpengine.
 */
import { fileURLToPath } from 'node:url';
import type { Place } from './network.ts';
import { finish, start } from './processes.ts';
import { ngAddress, ourCommand, rtpengineCommand, withRelay } from './relay-load.ts';
import { type PartResult, say } from './report.ts';

const seconds = 10;
const clients = 8;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** What `ngload` prints. */
interface Cycles {
  cycles_per_s: number;
  cycles_per_cpu_s: number;
  latency_us_p50: number;
  latency_us_p99: number;
  generator_cpu_s: number;
}

export async function measureNg(): Promise<PartResult> {
  return await withRelay(async (phones, relay) => {
    const rows: string[][] = [];
    // Twice in turn: single runs on a shared machine vary, neighbours in time compare.
    for (const pass of [1, 2]) {
      const ours = await cyclesAt(phones, relay, ourCommand('auto'), 'ready');
      const theirs = await cyclesAt(phones, relay, rtpengineCommand(), 'Startup complete');
      rows.push(row(`raftpbx media, pass ${pass}`, ours, theirs));
      rows.push(row(`rtpengine, pass ${pass}`, theirs, theirs));
    }
    return {
      part: 'ng',
      title: 'NG: calls set up and taken down, beside rtpengine',
      notes: [
        `${clients} clients over a veth pair, each with one command under way for ${seconds} s: offer, ` +
          'answer, delete of a call with one line of audio, in the JSON notation; no packets flow.',
        'CPU is user and system time of the relay process; latency is of the three commands together.',
      ],
      head: ['relay', 'cycles/s', 'cycles/CPU-s', 'x rtpengine', 'p50 us', 'p99 us', 'load CPU s'],
      rows,
    };
  });
}

function row(name: string, one: Cycles, theirs: Cycles): string[] {
  return [
    name,
    one.cycles_per_s.toFixed(0),
    one.cycles_per_cpu_s.toFixed(0),
    (one.cycles_per_cpu_s / theirs.cycles_per_cpu_s).toFixed(2),
    String(one.latency_us_p50),
    String(one.latency_us_p99),
    one.generator_cpu_s.toFixed(2),
  ];
}

async function cyclesAt(
  phones: Place,
  relay: Place,
  command: readonly string[],
  ready: string,
): Promise<Cycles> {
  const server = await start(relay.command(command), ready);
  try {
    const load = ['--ng', ngAddress, '--clients', String(clients), '--secs', String(seconds)];
    const argv = [`${root}target/release/ngload`, ...load, '--pid', String(server.pid)];
    say(`ngload at ${command.find((word) => /^(rtpengine|media)$/.test(word))}`);
    const run = await finish(phones.command(argv), (seconds + 30) * 1000);
    if (run.status !== 0) {
      throw new Error(`ngload failed (${run.status}): ${run.stderr.slice(-500)}`);
    }
    return JSON.parse(run.stdout) as Cycles;
  } finally {
    await server.stop();
  }
}
