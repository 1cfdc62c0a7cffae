import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clusterUp } from '../../src/lab/index.ts';
import {
  closeLab,
  openLab,
  raftpbx,
  type TestLab,
  testLab,
  testTimeoutMs,
} from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

/** A process that has ended but that nobody has waited for yet has no command line. */
function runs(pid: number): boolean {
  const file = `/proc/${pid}/cmdline`;
  return existsSync(file) && readFileSync(file, 'latin1') !== '';
}

const pids = () =>
  ['cm-1', 'cm-2', 'cm-3', 'media-1', 'media-2'].map((name) => lab.server(name).pid);

test('bringing the lab up twice changes nothing', async () => {
  const before = { pids: pids(), status: await lab.status() };

  const again = await clusterUp(testLab);

  expect(again.started).toEqual([]);
  expect(pids()).toEqual(before.pids);
  expect(again.status).toMatchObject({ leader: before.status.leader, term: before.status.term });
});

test('a lab with more users than a page holds is brought up again all the same', async () => {
  const users = Array.from({ length: 1000 }, (_, i) => ({
    name: String(100_000 + i),
    password: `of-${i}-alone`,
  }));
  expect(await lab.api('POST', 'users', { users })).toEqual({ added: users.length });

  expect((await clusterUp(testLab)).started).toEqual([]);
});

test('the command line says what the cluster is, in one JSON document', async () => {
  const status = await raftpbx('status', '-o', 'json');
  expect(status.status).toBe(0);
  expect(JSON.parse(status.stdout)).toMatchObject({
    leader: expect.stringMatching(/^cm-[123]$/),
    vip: { address: '10.77.0.100', holder: expect.stringMatching(/^cm-[123]$/) },
    alerts: 0,
  });
  const servers = await raftpbx('get', 'servers', '-o', 'json');
  expect(JSON.parse(servers.stdout)).toHaveLength(5);
});

test('a server that is killed is reported, and bringing the lab up again starts only that one', async () => {
  await lab.kill('media-2');
  await lab.untilState('media-2', 'down');
  expect((await raftpbx('status')).status).toBe(1);

  const again = await clusterUp(testLab);

  expect(again.started).toEqual(['media-2']);
  await lab.untilHealthy();
});

test('taking the lab down leaves no process and no namespace', async () => {
  const before = pids();
  await lab.close();

  await closeLab();

  const left = readdirSync('/run/netns').filter((name) => name.startsWith(testLab.prefix));
  expect(left).toEqual([]);
  expect(before.filter(runs)).toEqual([]);
  expect((await raftpbx('status')).status).toBe(2);
});
