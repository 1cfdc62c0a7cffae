import { expect, test } from 'vitest';
import { serverViews } from '../../../src/cluster/health.ts';
import type { Lease } from '../../../src/domain/server.ts';

const known = ['media-2', 'media-1'].map((name) => ({ name, roles: ['media'], address: '' }));
const lease = (name: string): Lease => ({
  name,
  roles: ['media'],
  address: '',
  load: 3,
  capacity: 100,
  version: '',
});

function states(now: number, leaderSince: number | null, leased: string[]) {
  const views = serverViews({
    known,
    leases: new Map(leased.map((name) => [name, lease(name)])),
    settings: new Map([['media-2', 'draining']]),
    leaderSince,
    now,
    graceMs: 2000,
  });
  return views.map((view) => `${view.name} ${view.state}`);
}

test('a server without a lease is down', () => {
  expect(states(10_000, 0, ['media-2'])).toEqual(['media-1 down', 'media-2 draining']);
});

test('what an administrator set does not hide that a server is down', () => {
  expect(states(10_000, 0, ['media-1'])).toEqual(['media-1 up', 'media-2 down']);
});

test('a new leader waits for renewals before it calls anybody down', () => {
  expect(states(1999, 0, [])).toEqual(['media-1 up', 'media-2 draining']);
  expect(states(2000, 0, [])).toEqual(['media-1 down', 'media-2 down']);
});

test('without a leader no lease can be renewed, so nobody is down', () => {
  expect(states(10_000, null, [])).toEqual(['media-1 up', 'media-2 draining']);
});
