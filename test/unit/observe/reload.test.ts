import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from '../../../src/config/load.ts';
import { silentLog } from '../../../src/domain/log.ts';
import { configOf } from '../../../src/lab/materials.ts';
import { type LabServer, planLab } from '../../../src/lab/plan.ts';
import { Reload } from '../../../src/observe/reload.ts';

let directory: string;
let file: string;
let taken: string[];
let reload: Reload;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'raftpbx-reload-'));
  file = join(directory, 'config.yaml');
  const plan = planLab(directory);
  const account = (user: string) => ({ user, password: 'unused' });
  const credentials = {
    store: account('node'),
    operator: account('operator'),
    metrics: account('metrics'),
  };
  writeFileSync(file, stringify(configOf(plan, plan.servers[0] as LabServer, credentials)));
  taken = [];
  reload = new Reload(file, loadConfig(file), silentLog);
  reload.add('log level', ({ log }) => {
    taken.push(log.level);
  });
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function change(from: string | RegExp, to: string): void {
  const text = readFileSync(file, 'utf8');
  expect(text.replace(from, to)).not.toBe(text);
  writeFileSync(file, text.replace(from, to));
}

it('takes over what may change and names what needs a restart', async () => {
  change(/^name:/m, 'log:\n  level: debug\nname:');
  change('domain: lab.raftpbx.test', 'domain: other.test');
  expect(await reload.run()).toEqual({ taken: ['log.level'], restart: ['sip.domain'] });
  expect(taken).toEqual(['debug']);
  expect(await reload.run()).toEqual({ taken: [], restart: [] });
});

it('takes over who belongs to the cluster, but not where a node is found', async () => {
  change('    - id: 3', '    - id: 4\n      name: cm-4\n      address: 10.77.0.14\n    - id: 3');
  expect(await reload.run()).toEqual({ taken: ['cluster.peers'], restart: [] });
  change('address: 10.77.0.13', 'address: 10.77.0.33');
  expect(await reload.run()).toEqual({
    taken: ['cluster.peers'],
    restart: ['cluster.peers (an address)'],
  });
});

it('a file that is wrong changes nothing, and the next good one counts', async () => {
  const good = readFileSync(file, 'utf8');
  change('domain:', 'domian:');
  expect(await reload.run()).toBeNull();
  expect(taken).toEqual([]);
  writeFileSync(file, good);
  expect(await reload.run()).toEqual({ taken: [], restart: [] });
});

it('a part that fails leaves the others as they are wanted', async () => {
  reload.add('store', () => {
    throw new Error('no certificate');
  });
  reload.add('last', () => {
    taken.push('last');
  });
  expect(await reload.run()).not.toBeNull();
  expect(taken).toEqual(['info', 'last']);
});
