import { afterEach, expect, test, vi } from 'vitest';
import { ServerLease } from '../../../src/cluster/lease.ts';
import { parseHost } from '../../../src/cluster/store-client.ts';
import { silentLog } from '../../../src/domain/log.ts';
import { parseLease } from '../../../src/domain/server.ts';

const server = {
  name: 'media-1',
  roles: ['media'],
  address: '10.0.0.1',
  ng: '10.0.0.1:2223',
  capacity: 100,
  version: '1',
};

afterEach(() => {
  vi.useRealTimers();
});

function leaseWith(execute: (command: readonly (string | number)[]) => Promise<unknown>) {
  return new ServerLease({ server, load: () => 7, execute, log: silentLog });
}

test('a server introduces itself once, renews its lease and gives it back', async () => {
  vi.useFakeTimers();
  const commands: string[] = [];
  const lease = leaseWith(async (command) => {
    commands.push(command.slice(0, 2).join(' '));
  });
  lease.start();
  await vi.advanceTimersByTimeAsync(500);
  await lease.stop();
  expect(commands).toEqual([
    'HSET servers',
    'SET server:media-1',
    'SET server:media-1',
    'SET server:media-1',
    'DEL server:media-1',
  ]);
});

test('a lease carries load and expires after a second', async () => {
  vi.useFakeTimers();
  const values: (readonly (string | number)[])[] = [];
  const lease = leaseWith(async (command) => {
    values.push(command);
  });
  lease.start();
  await vi.advanceTimersByTimeAsync(0);
  expect(values[1]?.slice(3)).toEqual(['PX', 1000]);
  expect(parseLease(String(values[1]?.[2]))).toEqual({ ...server, load: 7 });
  await lease.stop();
});

test('a store that hangs gets one renewal at a time, a store that fails gets the next', async () => {
  vi.useFakeTimers();
  let pending = 0;
  const release: (() => void)[] = [];
  const lease = leaseWith(() => {
    pending += 1;
    return new Promise((_, reject) => release.push(() => reject(new Error('no majority'))));
  });
  lease.start();
  await vi.advanceTimersByTimeAsync(2000);
  expect(pending).toBe(1);
  release[0]?.();
  await vi.advanceTimersByTimeAsync(300);
  expect(pending).toBe(2);
  expect(lease.failures).toBe(1);
});

test.each([
  ['10.77.0.100:6379', '10.77.0.100', 6379],
  ['[fd77::100]:6379', 'fd77::100', 6379],
  ['store:1', 'store', 1],
])('%s is a place', (text, host, port) => {
  expect(parseHost(text)).toEqual({ host, port });
});

test.each(['', 'store', 'store:0', 'store:70000', 'fd77::100:6379', '[]:1'])(
  "'%s' is not a place",
  (text) => {
    expect(() => parseHost(text)).toThrow('is not host:port');
  },
);

test.each(['', '{', 'null', '[]', '{"name":"x"}', '{"name":1,"roles":[],"address":""}'])(
  "'%s' is no lease",
  (text) => {
    expect(parseLease(text)).toBeNull();
  },
);
