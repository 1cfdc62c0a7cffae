import { expect, test } from 'vitest';
import { ServerWatch } from '../../../src/cluster/servers.ts';
import { limits } from '../../../src/domain/limits.ts';
import type { Store, StoreEvent } from '../../../src/native/index.ts';

const store = { read: () => [] } as unknown as Store;

function lease(name: string, load: number): StoreEvent {
  const ng = `${name}:2223`;
  const value = { name, roles: ['media'], address: name, ng, load, capacity: 100, version: '' };
  return { type: 'changed', changes: [{ key: `server:${name}`, value: JSON.stringify(value) }] };
}

const expired = (name: string): StoreEvent => ({
  type: 'changed',
  changes: [{ key: `server:${name}`, value: null }],
});

function watchAt(time: { now: number }): ServerWatch {
  const watch = new ServerWatch(store, () => time.now);
  watch.apply([{ type: 'leading', term: 1 }, lease('media-1', 0), lease('media-2', 0)]);
  return watch;
}

test('calls given out between two renewals are counted', () => {
  const watch = watchAt({ now: 0 });
  const names = [1, 2, 3, 4].map(() => watch.takeMediaServer()?.name);
  expect(names).toEqual(['media-1', 'media-2', 'media-1', 'media-2']);
  watch.apply([lease('media-2', 1), lease('media-1', 5)]);
  expect(watch.takeMediaServer()?.name).toBe('media-2');
});

test('a server that did not answer a moment ago is left out', () => {
  const watch = watchAt({ now: 0 });
  expect(watch.takeMediaServer(new Set(['media-1']))?.name).toBe('media-2');
  expect(watch.takeMediaServer(new Set(['media-1', 'media-2']))).toBeNull();
});

test('an expired lease is forgiven only while the leader is new', () => {
  const time = { now: 0 };
  const watch = watchAt(time);
  watch.apply([expired('media-1')]);
  expect(watch.takeMediaServer()?.name).toBe('media-1');
  expect(watch.isDown('media-1')).toBe(false);
  time.now = limits.leaseGraceMs;
  expect(watch.isDown('media-1')).toBe(true);
  expect(watch.takeMediaServer()?.name).toBe('media-2');
});

test('a key that is not a lease changes nothing', () => {
  const watch = watchAt({ now: 0 });
  watch.apply([
    { type: 'changed', changes: [{ key: 'server:media-3', value: '{"name":"media-3"}' }] },
  ]);
  expect(watch.views().map(({ name }) => name)).toEqual(['media-1', 'media-2']);
});
