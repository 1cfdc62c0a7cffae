/** A Call Manager whose directory is lost comes back by the commands that the alarm names. */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { StatusEntry } from '../../src/portal/api/shapes.ts';
import { expectSameAudio, heardFor, listen, talk } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import {
  closeLab,
  openLab,
  type Pair,
  raftpbx,
  type TestLab,
  testLab,
  testTimeoutMs,
} from '../support/lab.ts';
import { editConfig, issueCertificateFor } from '../support/operator.ts';

const managers = ['cm-1', 'cm-2', 'cm-3'];

let lab: TestLab;
let pair: Pair;
/** The server that loses its directory: the last one that does not lead. */
let wiped: { name: string; address: string };
let oldId: number;

beforeAll(async () => {
  lab = await openLab();
  const { name } = await lab.leader();
  wiped = lab.server(managers.filter((one) => one !== name).at(-1) as string);
  oldId = Number(wiped.name.slice(-1));
  pair = await lab.pair();
  await talk(pair);
}, testTimeoutMs);

afterAll(async () => {
  await lab?.close();
  await closeLab();
});

/** `raftpbx status` as programs read it. */
async function statusNow(): Promise<StatusEntry> {
  return JSON.parse((await raftpbx('status', '-o', 'json')).stdout) as StatusEntry;
}

test('the cluster says that a directory is lost, and what to do', async () => {
  await lab.kill(wiped.name);
  rmSync(`${testLab.directory}/${wiped.name}/state`, { recursive: true });
  expect(await raftpbx('lab', 'start', wiped.name, '--no-wait')).toMatchObject({ status: 0 });

  await eventually('the alarm', 30_000, async () => {
    const { alarms } = await statusNow();
    return alarms.some((alarm) => alarm.code === 'PBX_STORE_MEMBER_WIPED');
  });
  const shown = await raftpbx('status');
  expect(shown.status).toBe(1);
  expect(shown.stdout).toContain(`node ${oldId} has lost its directory`);
  expect(shown.stdout).toContain(`raftpbx member rejoin ${oldId} NEW-ID`);
  const list = await raftpbx('member', 'list');
  expect(list.status).toBe(1);
  expect(list.stdout).toMatch(new RegExp(`${wiped.name} .* it has lost its directory`));
  await eventually('its own alarm in its metrics', 15_000, async () => {
    const code = 'raftpbx_alarm\\{code="PBX_STORE_WIPED"\\}';
    return (
      (await lab.metric(wiped.name, code)) === 1 &&
      (await lab.metric(wiped.name, 'raftpbx_alarms')) === 1
    );
  });
});

test('it does not vote: without another voter nobody leads', async () => {
  const { name: leader } = await lab.leader();
  const other = managers.find((one) => one !== leader && one !== wiped.name) as string;
  await lab.kill(other);
  // Two of three voters would be there if the wiped one counted.
  await eventually('a leader without a majority', 10_000, async () => {
    return (await lab.metric(leader, 'raftpbx_store_leading')) === 0;
  });
  expect(await lab.metric(wiped.name, 'raftpbx_store_leading')).toBe(0);
  await lab.startAgain(other);
  await eventually('a leader with one', 15_000, async () => (await lab.status()).leader !== null);
});

test('it rejoins under a new id while the call goes on', async () => {
  await listen(pair);
  await lab.stop(wiped.name);
  const early = await raftpbx('member', 'rejoin', String(oldId), '4');
  expect(early.stderr).toContain('PBX_MEMBER_UNREACHABLE');
  editConfig(wiped.name, ({ cluster }) => {
    cluster.id = 4;
    for (const peer of cluster.peers.filter((one) => one.id === oldId)) {
      peer.id = 4;
    }
  });
  await issueCertificateFor(wiped, 4);
  await raftpbx('lab', 'start', wiped.name, '--no-wait');

  const rejoined = await raftpbx('member', 'rejoin', String(oldId), '4');
  expect(rejoined).toMatchObject({ status: 0, stderr: '' });

  await eventually('everything of the log', 30_000, async () => {
    const { store } = await statusNow();
    const node = store.nodes.find((one) => one.id === 4);
    return node?.behind !== null && Number(node?.behind) < 20;
  });
  for (const name of managers.filter((one) => one !== wiped.name)) {
    editConfig(name, ({ cluster }) => {
      for (const peer of cluster.peers.filter((one) => one.id === oldId)) {
        peer.id = 4;
      }
    });
  }
  expect((await raftpbx('lab', 'reload')).stdout).toContain('told');
  await eventually('nothing that needs a person', 30_000, async () => {
    const [status, list] = [await raftpbx('status'), await raftpbx('member', 'list')];
    return status.status === 0 && list.status === 0;
  });
  expectSameAudio(await heardFor(pair, 50));
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
});

test('its vote counts again: it carries the cluster with one of the others', async () => {
  const { name: leader } = await lab.leader();
  const other = managers.find((one) => one !== leader && one !== wiped.name);
  const gone = other ?? leader;
  await lab.kill(gone);
  const next = await lab.pair();
  await talk(next);
  expect(await next.alice.bye()).toMatchObject({ status: 200 });
});
