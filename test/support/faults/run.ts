/**
 * Faults by hand: `make chaos-store SEED=7 SECONDS=600`, or
 *
 *   node test/support/faults/run.ts [--seed N] [--seconds N] [--nodes N] [--faults A,B]
 *        [--mutation local-reads|skip-fsync]
 *
 * Without `--seconds` every fault is done once. Ends with status 1 when the history is not
 * linearizable or the cluster did not recover. Needs root, cargo, cc, go, nft and tc.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildPrograms } from './build.ts';
import { runTrial } from './trial.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    seconds: { type: 'string' },
    nodes: { type: 'string', default: '3' },
    faults: { type: 'string' },
    mutation: { type: 'string' },
  },
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(1));
}
const report = fileURLToPath(new URL('../../../report/chaos-store', import.meta.url));
const folder = `${report}/seed-${values.seed}`;
process.stderr.write(`seed ${values.seed}, files in ${folder}\n`);
const outcome = await runTrial({
  seed: Number(values.seed),
  programs: buildPrograms(`${report}/programs`),
  folder,
  seconds: values.seconds === undefined ? null : Number(values.seconds),
  nodes: Number(values.nodes),
  ...(values.faults === undefined ? {} : { faults: values.faults.split(',') }),
  ...(values.mutation === undefined ? {} : { mutation: values.mutation }),
});
process.stdout.write(`${JSON.stringify(outcome, null, 2)}\n`);
const { failure, verdict } = outcome;
const isGood = failure === null && verdict.violations.length + verdict.undecided.length === 0;
process.exitCode = isGood ? 0 : 1;
