/**
 * Nanoseconds to read a SIP message, beside other crates: `crates/sip/compare`, a crate of its own
 * that nothing else builds.
 */
import { fileURLToPath } from 'node:url';
import { finish } from './processes.ts';
import { type PartResult, say } from './report.ts';
import { scaled } from './scale.ts';

const rounds = scaled(200_000);
const root = fileURLToPath(new URL('../..', import.meta.url));
const target = `${root}target/compare`;
/** Compiling the other crates the first time. */
const buildMsMax = 900_000;
const runMsMax = 120_000;

export async function measureParsers(): Promise<PartResult> {
  say('building crates/sip/compare');
  const cargo = ['cargo', 'build', '--quiet', '--release', '--target-dir', target];
  const built = await finish(cargo, buildMsMax, `${root}crates/sip/compare`);
  if (built.status !== 0) {
    throw new Error(`crates/sip/compare was not built: ${built.stderr.slice(-500)}`);
  }
  const program = `${target}/release/raftpbx-sip-compare`;
  const run = await finish([program, 'time', String(rounds)], runMsMax);
  if (run.status !== 0) {
    throw new Error(`it failed (${run.status}): ${run.stderr.slice(-500)}`);
  }
  const [head = [], ...rows] = run.stdout
    .trim()
    .split('\n')
    .map((line) => line.split('\t'));
  return {
    part: 'parsers',
    title: 'Parsers: nanoseconds for a message, beside other crates',
    notes: [
      `Best of five times ${rounds} on one core, input to parsed message and its release.`,
      '"typed" also reads Via, From, To and CSeq, ours Contact as well. Ours keeps places in the ' +
        'message and copies nothing.',
    ],
    head,
    rows,
  };
}
