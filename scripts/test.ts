/**
 * Runs every test: Rust first, then unit and wire tests, then the cluster tests one by one, then
 * the proof that the store is linearizable.
 * What failed is said once more at the end. The last line reads `N passed, N failed`; the exit
 * status is 0 only when nothing failed.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

interface Tally {
  passed: number;
  failed: number;
  /** Names of what failed, each with the beginning of its message. */
  failures: string[];
}

/** Lines of a failure's message that are said at the end. */
const messageLinesMax = 25;

const root = fileURLToPath(new URL('..', import.meta.url));
const reports = `${root}report/test`;

/** Streams a program's output and keeps it; resolves to its end. */
function run(
  program: string,
  args: string[],
  more: NodeJS.ProcessEnv = {},
): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, ...more };
    const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
    const parts: Buffer[] = [];
    child.stdout.on('data', (part: Buffer) => {
      process.stdout.write(part);
      parts.push(part);
    });
    child.on('error', (error) => resolve({ status: 127, output: error.message }));
    child.on('close', (status) =>
      resolve({ status: status ?? 1, output: Buffer.concat(parts).toString() }),
    );
  });
}

/** Ways of the media engine to receive and send that `auto` does not choose. */
const packetWays = ['epoll', 'sk_lookup'];

/** All tests, then those of the media engine over every other way of receiving and sending. */
async function runRust(): Promise<Tally> {
  // Examples are no tests, and no page of ours has code to be tried; clippy compiles them.
  const targets = ['--lib', '--bins', '--tests'];
  const all = await runCargo(['test', '--workspace', '--no-fail-fast', ...targets]);
  for (const way of packetWays) {
    // Of the workspace again: alone the crate would be compiled anew, with other features.
    const args = ['test', '--workspace', '--no-fail-fast', ...mediaTests()];
    const { passed, failed, failures } = await runCargo(args, { RAFTPBX_PACKET_IO: way });
    all.passed += passed;
    all.failed += failed;
    all.failures.push(...failures.map((failure) => `${way}: ${failure}`));
  }
  return all;
}

/** Names the tests of the media engine for cargo. */
function mediaTests(): string[] {
  const files = readdirSync(`${root}crates/media/tests`).filter((name) => name.endsWith('.rs'));
  return files.flatMap((name) => ['--test', name.slice(0, -'.rs'.length)]);
}

/** Sums cargo's `test result` lines; a build that fails counts as one failure. */
async function runCargo(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Tally> {
  const { status, output } = await run('cargo', args, env);
  const tally: Tally = { passed: 0, failed: 0, failures: [] };
  for (const match of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    tally.passed += Number(match[1]);
    tally.failed += Number(match[2]);
  }
  for (const [, name, message] of output.matchAll(/^---- (.+) stdout ----\n([\s\S]*?)\n\n/gm)) {
    tally.failures.push(`${name}\n${beginningOf(message ?? '')}`);
  }
  return atLeastOneFailure(tally, status);
}

/** Runs some projects of vitest and reads its report. */
async function runVitest(projects: string[]): Promise<Tally> {
  const report = `${reports}/${projects.join('-')}.json`;
  const { status } = await run('vitest', [
    'run',
    ...projects.map((project) => `--project=${project}`),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  return atLeastOneFailure(readReport(report), status);
}

/** What is read of vitest's report. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

function readReport(file: string): Tally {
  try {
    const report: VitestReport = JSON.parse(readFileSync(file, 'utf8'));
    const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults);
    const failures = tests
      .filter(({ status }) => status === 'failed')
      .map((one) => `${one.fullName}\n${beginningOf(one.failureMessages.join('\n'))}`);
    return { passed: report.numPassedTests, failed: report.numFailedTests, failures };
  } catch (error) {
    process.stderr.write(`no report of vitest: ${(error as Error).message}\n`);
    return { passed: 0, failed: 1, failures: [`${file} was not written`] };
  }
}

function beginningOf(message: string): string {
  const lines = message.split('\n').slice(0, messageLinesMax);
  return lines.map((line) => `    ${line}`).join('\n');
}

function atLeastOneFailure(tally: Tally, status: number): Tally {
  return status === 0 ? tally : { ...tally, failed: Math.max(1, tally.failed) };
}

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) {
    process.stderr.write('the cluster tests make network namespaces, which needs root\n');
    process.stderr.write('fix: run it again with sudo\n');
    return 2;
  }
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const tallies = [
    await runRust(),
    await runVitest(['tidy', 'unit', 'wire']),
    await runVitest(['cluster']),
    await runVitest(['linearizability']),
  ];
  const passed = tallies.reduce((sum, tally) => sum + tally.passed, 0);
  const failed = tallies.reduce((sum, tally) => sum + tally.failed, 0);
  for (const failure of tallies.flatMap(({ failures }) => failures)) {
    process.stdout.write(`\nFAILED ${failure}\n`);
  }
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();
