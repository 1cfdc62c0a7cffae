/**
 * How long the VIP is silent when its holder dies: kill -9 of the leading Call Manager,
 * OPTIONS from a phone every 5 ms, the first answer to a question asked after the kill.
 */
import { fileURLToPath } from 'node:url';
import { labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { type Callers, withCallers } from './callers.ts';
import { type BenchLab, withLab } from './lab.ts';
import { percentile } from './machine.ts';
import { type Running, start, until } from './processes.ts';
import { type PartResult, say } from './report.ts';
import type { Load } from './sipp.ts';

const { KILLS: wanted = '20' } = process.env;
const kills = Number(wanted);
const probeMs = 5;
/** Beside the addresses of the callers. */
const phoneAddress = '10.77.0.232';
/** A takeover later than this ends the run as failed. */
const giveUpMs = 15_000;
const callLoad = { perSecond: 5, talkMs: 3000, calls: 1_000_000, timeoutMs: 3_600_000 };

type Samples = readonly number[];

export async function measureFailover(): Promise<PartResult> {
  const { idle, busy, load } = await withLab(async (lab) => {
    const quiet = await killAgainAndAgain(lab);
    return { idle: quiet, ...(await withCallers(lab, (callers) => underCalls(lab, callers))) };
  });
  const list = (samples: Samples) => samples.map(show).join(', ');
  return {
    part: 'failover',
    title: `Failover: ${kills} times kill -9 of the leader`,
    notes: [
      'From the kill to the first SIP answer at the VIP to an OPTIONS sent after it, asked every ' +
        `${probeMs} ms from the phones' namespace; the cluster is whole before each kill.`,
      `The second row is measured while ${callLoad.perSecond} calls a second begin, each of ` +
        `${callLoad.talkMs / 1000} s: ${load.successful} calls, ${load.failed} of them failed.`,
      `Milliseconds of each kill: ${list(idle)}; in calls: ${list(busy)}.`,
    ],
    head: ['load', 'kills', 'min ms', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms'],
    rows: [row('none', idle), row(`${callLoad.perSecond} calls/s`, busy)],
  };
}

const show = (ms: number) => ms.toFixed(0);

function row(name: string, samples: Samples): string[] {
  const shares = [0, 0.5, 0.95, 0.99, 1].map((share) => show(percentile(samples, share)));
  return [name, String(samples.length), ...shares];
}

async function killAgainAndAgain(lab: BenchLab): Promise<number[]> {
  const taken: number[] = [];
  for (let number = 1; number <= kills; number += 1) {
    const ms = await oneKill(lab);
    say(`kill ${number}: ${show(ms)} ms`);
    taken.push(ms);
  }
  return taken;
}

async function underCalls(lab: BenchLab, callers: Callers): Promise<{ busy: Samples; load: Load }> {
  const done = Promise.withResolvers<void>();
  const calling = callers.call({ ...callLoad, enough: done.promise });
  const busy = await killAgainAndAgain(lab).finally(done.resolve);
  return { busy, load: await calling };
}

async function oneKill(lab: BenchLab): Promise<number> {
  const { leader } = await lab.untilHealthy();
  if (leader === null) {
    throw new Error('nobody leads');
  }
  const probe = await start(
    inNamespace(lab.plan.phonesNamespace, [
      process.execPath,
      fileURLToPath(new URL('./probe.ts', import.meta.url)),
      ...[phoneAddress, lab.plan.vip[0] ?? '', String(labPorts.sip), String(probeMs)],
    ]),
    '\n',
  );
  try {
    const killedAt = process.hrtime.bigint();
    process.kill(lab.pidOf(leader), 'SIGKILL');
    let found: bigint | null = null;
    await until('an answer after the kill', giveUpMs, () => {
      found = firstAnswer(probe, killedAt);
      return found !== null;
    });
    await lab.kill(leader);
    await lab.start(leader);
    return Number((found ?? killedAt) - killedAt) / 1e6;
  } finally {
    await probe.stop();
  }
}

/** When the first question that left after `killedAt` was answered. */
function firstAnswer(probe: Running, killedAt: bigint): bigint | null {
  const answered = probe
    .output()
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').map(BigInt) as [bigint, bigint])
    .filter(([sentAt]) => sentAt > killedAt)
    .map(([, answeredAt]) => answeredAt);
  return answered.reduce<bigint | null>((min, at) => (min === null || at < min ? at : min), null);
}
