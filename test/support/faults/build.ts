/** Builds what a run needs: a node with its switches, the library of faults, the checker. */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

export interface Programs {
  node: string;
  library: string;
  checker: string;
}

/** Puts the programs into `folder`, where no other build replaces them during the run. */
export function buildPrograms(folder: string): Programs {
  mkdirSync(folder, { recursive: true });
  const library = buildLibrary(folder);
  const programs = { node: join(folder, 'node'), library, checker: join(folder, 'checker') };
  const features = ['--package', 'raftpbx-store', '--example', 'node', '--features', 'mutations'];
  build(root, ['cargo', 'build', '--quiet', ...features]);
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  copyFileSync(join(target, 'debug/examples/node'), programs.node);
  build(join(root, 'test/support/checker'), ['go', 'build', '-o', programs.checker, '.']);
  return programs;
}

/** The library alone; answers its path. */
export function buildLibrary(folder: string): string {
  const library = join(folder, 'fault.so');
  const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror'];
  const source = join(root, 'test/support/faults/fault.c');
  build(root, ['cc', ...flags, '-o', library, source, '-ldl', '-lpthread']);
  return library;
}

function build(cwd: string, command: readonly string[]): void {
  const [program = '', ...args] = command;
  const result = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (result.error !== undefined || result.status !== 0) {
    const said = result.error?.message ?? result.stderr;
    throw new Error(`${command.join(' ')} failed: ${said.slice(-2000)}`);
  }
}
