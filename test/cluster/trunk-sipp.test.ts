import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Page } from '../../src/portal/api/shapes.ts';
import type { TrunkEntry } from '../../src/portal/api/trunk-shapes.ts';
import { eventually } from '../support/eventually.ts';
import { Provider } from '../support/kamailio/provider.ts';
import {
  domain,
  openLab,
  phonesNamespace,
  raftpbx,
  type TestLab,
  testTimeoutMs,
  type User,
  vip,
} from '../support/lab.ts';
import { runSipp, type SippRun, sippToneHertz, startSipp } from '../support/sipp.ts';

const place = { address: '10.77.0.242', port: 5060 };
const common = { namespace: phonesNamespace, timeoutMs: 20_000 };
/** A phone of the cluster, and one of the provider, which challenges with MD5. */
const here = { ...common, domain, address: '10.77.0.212', port: 5060, remote: `${vip}:5060` };
const there = {
  ...common,
  ...{ domain: 'provider.test', address: '10.77.0.213', port: 5060 },
  remote: `${place.address}:${place.port}`,
};
const outside: User = { name: '4930124', password: 'secret-4930124' };

let lab: TestLab;
let provider: Provider;
let user: User;
let waiting: SippRun | null = null;

beforeAll(async () => {
  lab = await openLab();
  const options = { algorithm: 'MD5' as const, expiresS: 600 };
  provider = new Provider({ namespace: phonesNamespace, ...place, ...options });
  [user] = (await lab.users(1)) as [User];
  await lab.api('POST', 'trunks', {
    ...{ name: 'md5', proxy: place.address, domain: 'provider.test', callerId: '5550100' },
    ...{ user: 'acme', password: 'secret-acme' },
  });
  await lab.api('POST', 'outbound-routes', { pattern: '7.', strip: 1, trunks: ['md5'] });
  await lab.api('POST', 'inbound-routes', { pattern: '5550100', trunk: 'md5', to: user.name });
  await eventually('the trunk to be registered', 20_000, async () => {
    const { items } = await lab.api<Page<TrunkEntry>>('GET', 'trunks');
    return items.some((one) => one.name === 'md5' && one.state === 'registered');
  });
}, testTimeoutMs);

afterEach(() => waiting?.stop());
afterAll(async () => {
  await raftpbx('route', 'remove-out', '7.');
  await raftpbx('route', 'remove-in', '5550100', '--trunk', 'md5');
  await raftpbx('trunk', 'remove', 'md5');
  await lab?.close();
  await provider?.stop();
});

/** The newest of so many records of the user's calls. */
async function newestCdr(count: number) {
  return eventually(`${count} records`, 5000, async () => {
    const all = await lab.cdrs(user.name);
    return all.length === count && all[0];
  });
}

test('a sipp of ours calls a sipp of the provider and its tone arrives unchanged', async () => {
  const recorder = await lab.record(there.address, sippToneHertz);
  const registered = await runSipp({ ...there, scenario: 'register', rows: [{ user: outside }] });
  expect(registered, registered.errors).toMatchObject({ status: 0, successful: 1 });
  waiting = startSipp({ ...there, scenario: 'uas-answer', audioPort: recorder.port });

  const rows = [{ user, callee: `7${outside.name}` }];
  const result = await runSipp({ ...here, scenario: 'uac-call', rows, talkMs: 2000 });

  expect(result, result.errors).toMatchObject({ status: 0, successful: 1 });
  expect(await waiting.done).toMatchObject({ status: 0, successful: 1 });
  const heard = await recorder.report();
  expect(heard).toMatchObject({ differing: 0, lost: 0, hertz: sippToneHertz });
  expect(heard.matching).toBeGreaterThan(80);
  expect(await newestCdr(1)).toMatchObject({ result: 'answered', toTrunk: 'md5' });
});

test('a sipp of the provider calls a number of ours and its tone arrives unchanged', async () => {
  const recorder = await lab.record(here.address, sippToneHertz);
  const registered = await runSipp({ ...here, scenario: 'register', rows: [{ user }] });
  expect(registered).toMatchObject({ status: 0, successful: 1 });
  waiting = startSipp({ ...here, scenario: 'uas-answer', audioPort: recorder.port });

  const rows = [{ user: outside, callee: '5550100' }];
  const result = await runSipp({ ...there, scenario: 'uac-call', rows, talkMs: 2000 });

  expect(result, result.errors).toMatchObject({ status: 0, successful: 1 });
  expect(await waiting.done).toMatchObject({ status: 0, successful: 1 });
  const heard = await recorder.report();
  expect(heard).toMatchObject({ differing: 0, lost: 0, hertz: sippToneHertz });
  expect(heard.matching).toBeGreaterThan(80);
  expect(await newestCdr(2)).toMatchObject({
    ...{ from: outside.name, result: 'answered', fromTrunk: 'md5' },
  });
});
