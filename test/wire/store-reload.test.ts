/** What a store takes over while it runs: users and their passwords, and its certificates. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hashStorePassword, type StoreAccount } from '../../src/config/store-accounts.ts';
import { eventually } from '../support/eventually.ts';
import { StoreCluster, storePassword } from '../support/store-cluster.ts';

let cluster: StoreCluster;

beforeEach(async () => {
  cluster = await StoreCluster.start();
});

afterEach(() => cluster.stop());

const account = (name: string, role: StoreAccount['role'], password: string) => ({
  name,
  role,
  hashes: [hashStorePassword(password)],
});

it('a user that is gone is sent away, the others stay, and a new password counts', async () => {
  const store = cluster.stores.get(1);
  const [kept, gone] = [
    cluster.client(1),
    cluster.client(1, { username: 'operator', password: storePassword }),
  ];
  const id = await kept.client('ID');
  expect(await gone.ping()).toBe('PONG');
  const closed = new Promise((resolve) => gone.once('close', resolve));

  expect(
    store?.setAccounts([account('default', 'node', 'new'), account('other', 'metrics', 'its own')]),
  ).toBe(1);

  await closed;
  expect(await kept.client('ID')).toBe(id);
  expect(await cluster.client(1, { password: 'new' }).set('k', 'v')).toBe('OK');
  const stranger = cluster.client(1);
  await expect(stranger.ping()).rejects.toThrow();
  const other = cluster.client(1, { username: 'other', password: 'its own' });
  await expect(other.set('k', 'v')).rejects.toThrow('NOPERM');
});

it('new certificates are used at once when it is told, and wrong ones raise an alarm', async () => {
  const store = cluster.stores.get(1);
  expect(await store?.reloadCertificates()).toBe(false);
  cluster.renewCertificate(1);
  expect(await store?.reloadCertificates()).toBe(true);

  cluster.breakCertificate(1);
  await expect(store?.reloadCertificates()).rejects.toThrow('certificates');
  expect(store?.status().alarms.map((alarm) => alarm.code)).toEqual(['PBX_STORE_CERTIFICATES']);
  expect(store?.metrics()).toContain('raftpbx_alarms 1\n');
  expect(store?.metrics()).toContain('raftpbx_alarm{code="PBX_STORE_CERTIFICATES"} 1\n');

  cluster.renewCertificate(1);
  await eventually('no alarm', 5000, () => store?.status().alarms.length === 0);
  expect(store?.metrics()).toContain('raftpbx_alarms 0\n');
});

it('counts what was forwarded, and how long a request was held without a leader', async () => {
  const follower = await cluster.follower();
  const redis = cluster.client(follower);
  await redis.set('k', 'v');
  await redis.get('k');
  const number = (name: string) => {
    const text = cluster.stores.get(follower)?.metrics() ?? '';
    return Number(new RegExp(`^raftpbx_store_${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  expect(number('forwarded_writes_total')).toBeGreaterThanOrEqual(1);
  expect(number('forwarded_reads_total')).toBeGreaterThanOrEqual(1);
  expect(number('held_requests_total')).toBe(0);

  await cluster.loseLeader();
  await redis.set('k', 'w');
  expect(number('held_requests_total')).toBeGreaterThanOrEqual(1);
  expect(number('held_seconds_count')).toBe(number('held_requests_total'));
  expect(number('held_seconds_sum')).toBeGreaterThan(0.01);
  for (const name of ['refused_requests', 'unavailable_requests', 'unknown_outcomes']) {
    expect(number(`${name}_total`)).toBe(0);
  }
});
