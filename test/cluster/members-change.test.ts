/** Call Managers come and go, by command and by `cluster.peers`, and calls go on. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectSameAudio, heardFor, listen, talk } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import {
  closeLab,
  openLab,
  type Pair,
  raftpbx,
  type TestLab,
  testTimeoutMs,
} from '../support/lab.ts';
import { editConfig } from '../support/operator.ts';

let lab: TestLab;
let pair: Pair;

beforeAll(async () => {
  lab = await openLab();
  pair = await lab.pair();
  await talk(pair);
}, testTimeoutMs);

afterAll(async () => {
  await lab?.close();
  await closeLab();
});

/** Runs a command that must work; answers what it prints. */
async function well(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await raftpbx(...args);
  expect({ command: args.join(' '), status, stderr }).toMatchObject({ status: 0, stderr: '' });
  return stdout;
}

async function voters(): Promise<number[]> {
  const { stdout } = await raftpbx('member', 'list', '-o', 'json');
  const { items } = JSON.parse(stdout) as { items: { id: number; voter: boolean }[] };
  return items.filter((one) => one.voter).map((one) => one.id);
}

async function untilWell(): Promise<void> {
  await eventually('nothing that needs a person', 30_000, async () => {
    const [status, list] = [await raftpbx('status'), await raftpbx('member', 'list')];
    return status.status === 0 && list.status === 0;
  });
}

test('a new Call Manager takes the place of a dead one, by commands', async () => {
  await listen(pair);
  expect(await well('lab', 'add')).toContain('member add 4 cm-4 10.77.0.14');
  const { name: leader } = await lab.leader();
  const dead = ['cm-3', 'cm-2'].find((one) => one !== leader) as string;
  await lab.kill(dead);

  await well('member', 'add', '4', 'cm-4', '10.77.0.14');
  await well('member', 'promote', '4');
  await well('member', 'remove', dead.slice(-1));

  const left = [1, 2, 3, 4].filter((id) => id !== Number(dead.slice(-1)));
  expect(await voters()).toEqual(left);
  expect((await lab.status()).servers.map((server) => server.name)).not.toContain(dead);
  for (const name of ['cm-1', 'cm-2', 'cm-3', 'cm-4']) {
    editConfig(name, ({ cluster }) => {
      cluster.peers = cluster.peers.filter((peer) => peer.name !== dead);
    });
  }
  await well('lab', 'reload');
  await untilWell();
  expectSameAudio(await heardFor(pair, 50));
});

test('cluster.peers says who belongs, and member apply makes it so', async () => {
  const { name: leader } = await lab.leader();
  await well('lab', 'add');
  const leaving = [...(await voters())].reverse().find((id) => `cm-${id}` !== leader) as number;
  for (const id of [...(await voters()), 5]) {
    editConfig(`cm-${id}`, ({ cluster }) => {
      cluster.peers = cluster.peers.filter((peer) => peer.id !== leaving);
    });
  }
  await well('lab', 'reload');

  const planned = await eventually('the plan', 10_000, async () => {
    const { stdout } = await raftpbx('member', 'apply', '--dry-run');
    return stdout.includes('remove') && stdout;
  });
  expect(planned.split('\n').slice(0, 3)).toEqual([
    'add node 5 (cm-5) at 10.77.0.15',
    'promote node 5',
    `remove node ${leaving}`,
  ]);
  await eventually('the new node to be met', 30_000, async () => {
    const { stdout } = await raftpbx('member', 'apply');
    return stdout.includes('done: remove');
  });
  expect(await well('member', 'apply')).toContain('the members are those of the configuration');
  expect(await voters()).toContain(5);
  expect(await voters()).not.toContain(leaving);

  await lab.stop(`cm-${leaving}`);
  await untilWell();
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  const next = await lab.pair();
  await talk(next);
  expect(await next.bob.bye()).toMatchObject({ status: 200 });
});

test('an id that belonged to somebody is refused, with the way out', async () => {
  const there = await voters();
  const gone = [1, 2, 3, 4].find((id) => !there.includes(id));
  const { status, stderr } = await raftpbx('member', 'add', String(gone), 'cm-9', '10.77.0.19');
  expect(status).toBe(2);
  expect(stderr).toMatch(/PBX_MEMBER_ID_USED.*\n {2}fix: give the new node an id/);
});
