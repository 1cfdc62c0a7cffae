/**
 * A trial: a cluster of real processes, clients that write a history, faults that a seed chooses,
 * and the verdict of the checker. The network is made and removed here, around everything.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Programs } from './build.ts';
import { faults } from './faults.ts';
import { FaultNetwork } from './network.ts';
import type { Summary } from './play.ts';

export interface Trial {
  seed: number;
  programs: Programs;
  /** Where the history, the logs and the pictures of violations go; emptied before. */
  folder: string;
  /** Faults are done until this time is over; null: every fault once. */
  seconds: number | null;
  faults?: readonly string[];
  nodes?: number;
  mutation?: string;
}

/** What the checker prints. */
export interface Verdict {
  calls: number;
  keys: number;
  /** Keys whose history is not linearizable. */
  violations: string[];
  /** Keys that took too long to decide. */
  undecided: string[];
  pictures: string[];
  slowestMs: number;
}

export interface Report extends Summary {
  verdict: Verdict;
}

let trials = 0;

export async function runTrial(trial: Trial): Promise<Report> {
  rmSync(trial.folder, { recursive: true, force: true });
  mkdirSync(trial.folder, { recursive: true });
  const folder = realpathSync(trial.folder);
  const nodes = Array.from({ length: trial.nodes ?? 3 }, (_, i) => i + 1);
  trials += 1;
  const owner = `${process.pid}-${trials}`;
  const network = new FaultNetwork(nodes, owner);
  // Nothing stays when this process is told to end in the middle.
  const remove = () => network.remove();
  process.once('exit', remove);
  try {
    network.make();
    await playInside(network, {
      seed: trial.seed,
      seconds: trial.seconds,
      faults: trial.faults ?? Object.keys(faults),
      mutation: trial.mutation ?? null,
      folder,
      program: trial.programs.node,
      library: trial.programs.library,
      nodes,
      owner,
    });
  } finally {
    process.removeListener('exit', remove);
    remove();
    for (const node of nodes) {
      rmSync(join(folder, `node-${node}`), { recursive: true, force: true });
      rmSync(join(folder, `journal-${node}`), { force: true });
    }
  }
  const summary = JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8')) as Summary;
  // A broken promise shows in some key soon; the keys that take long do not matter then.
  const limit = trial.mutation === undefined ? '60s' : '5s';
  return { ...summary, verdict: check(trial.programs.checker, folder, limit) };
}

async function playInside(network: FaultNetwork, plan: object): Promise<void> {
  const inside = fileURLToPath(new URL('inside.ts', import.meta.url));
  const command = network.atClients([process.execPath, inside, JSON.stringify(plan)]);
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const status = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', resolve);
  });
  if (status !== 0) {
    throw new Error(`the trial ended with ${status}`);
  }
}

function check(checker: string, folder: string, limit: string): Verdict {
  const history = join(folder, 'history.jsonl');
  const args = ['-history', history, '-pictures', folder, '-limit', limit];
  const result = spawnSync(checker, args, { encoding: 'utf8' });
  if (result.status !== 0) {
    throw new Error(`the checker failed: ${result.error?.message ?? result.stderr}`);
  }
  return JSON.parse(result.stdout) as Verdict;
}
