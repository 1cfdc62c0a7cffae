import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import {
  domain,
  openLab,
  phonesNamespace,
  type TestLab,
  testTimeoutMs,
  type User,
  vip,
} from '../support/lab.ts';
import {
  runSipp,
  type SippOptions,
  type SippRun,
  sippToneHertz,
  startSipp,
} from '../support/sipp.ts';

const common = { namespace: phonesNamespace, domain, timeoutMs: 20_000, remote: `${vip}:5060` };
const caller = { ...common, address: '10.77.0.210', port: 5060 };
const callee = { ...common, address: '10.77.0.211', port: 5060 };

let lab: TestLab;
let waiting: SippRun | null = null;
let users: User[];
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(() => waiting?.stop());
afterAll(() => lab?.close());

/** Registers the callee with sipp, then lets another sipp wait for the call. */
async function ready(
  scenario: string,
  audioPort = 9,
  talkMs = 1000,
): Promise<SippOptions['rows'] & object> {
  users = await lab.users(2);
  const [a, b] = users as [User, User];
  const registered = await runSipp({
    ...callee,
    scenario: 'register',
    rows: [{ user: b }],
  });
  expect(registered).toMatchObject({ status: 0, successful: 1, retransmissions: 0 });
  waiting = startSipp({ ...callee, scenario, audioPort, talkMs });
  return [{ user: a, callee: b.name }];
}

test('a sipp calls a sipp and its tone arrives unchanged', async () => {
  const recorder = await lab.record(callee.address, sippToneHertz);
  const rows = await ready('uas-answer', recorder.port);

  const result = await runSipp({ ...caller, scenario: 'uac-call', rows, talkMs: 2000 });

  expect(result).toMatchObject({ status: 0, successful: 1, retransmissions: 0 });
  expect(await waiting?.done).toMatchObject({ status: 0, successful: 1 });
  const heard = await recorder.report();
  expect(heard).toMatchObject({ differing: 0, lost: 0, hertz: sippToneHertz });
  expect(heard.matching).toBeGreaterThan(80);
});

test('the tone of the callee arrives unchanged at the caller', async () => {
  const recorder = await lab.record(caller.address, sippToneHertz);
  const rows = await ready('uas-speak');

  const result = await runSipp({
    ...caller,
    scenario: 'uac-silent',
    rows,
    audioPort: recorder.port,
    talkMs: 2000,
  });

  expect(result).toMatchObject({ status: 0, successful: 1 });
  const heard = await recorder.report();
  expect(heard).toMatchObject({ differing: 0, lost: 0, hertz: sippToneHertz });
  expect(heard.matching).toBeGreaterThan(80);
});

test.each([
  ['uac-wait-bye', 'uas-bye', 'answered', 'callee'],
  ['uac-hold', 'uas-hold', 'answered', 'caller'],
  ['uac-cancel', 'uas-never', 'cancelled', 'caller'],
] as const)('sipp %s meets sipp %s: the record says %s', async (uac, uas, result, endedBy) => {
  const rows = await ready(uas, 9, 500);

  expect(await runSipp({ ...caller, scenario: uac, rows })).toMatchObject({ status: 0 });
  expect(await waiting?.done).toMatchObject({ status: 0, successful: 1 });
  await eventually('the record', 5000, async () => {
    const cdrs = await lab.cdrs((users[0] as User).name);
    return cdrs.length === 1 && cdrs[0]?.result === result && cdrs[0].endedBy === endedBy;
  });
});
