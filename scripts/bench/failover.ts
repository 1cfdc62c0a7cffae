/**
 * How long the VIP is silent when its holder dies: kill -9 of the leading Call Manager,
 * OPTIONS from a phone every 5 ms, the first answer to a question asked after the kill.
 */
import { fileURLToPath } from 'node:url';
import { labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { type BenchLab, withLab } from './lab.ts';
import { percentile } from './machine.ts';
import { type Running, start, until } from './processes.ts';
import { type PartResult, say } from './report.ts';

const kills = 20;
const probeMs = 5;
const phoneAddress = '10.77.0.231';
/** A takeover later than this ends the run as failed. */
const giveUpMs = 15_000;

export async function measureFailover(): Promise<PartResult> {
  const samples = await withLab(async (lab) => {
    const taken: number[] = [];
    for (let number = 1; number <= kills; number += 1) {
      const ms = await oneKill(lab);
      say(`kill ${number}: ${ms.toFixed(0)} ms`);
      taken.push(ms);
    }
    return taken;
  });
  const show = (ms: number) => ms.toFixed(0);
  return {
    part: 'failover',
    title: `Failover: ${kills} times kill -9 of the leader`,
    notes: [
      `From the kill to the first SIP answer at the VIP to an OPTIONS sent after it, asked every ` +
        `${probeMs} ms from the phones' namespace; the cluster is whole before each kill.`,
      `Milliseconds of each kill: ${samples.map(show).join(', ')}.`,
    ],
    head: ['kills', 'min ms', 'p50 ms', 'p95 ms', 'max ms'],
    rows: [
      [
        String(samples.length),
        show(Math.min(...samples)),
        show(percentile(samples, 0.5)),
        show(percentile(samples, 0.95)),
        show(Math.max(...samples)),
      ],
    ],
  };
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
