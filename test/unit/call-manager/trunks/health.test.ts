import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { TrunkAdmin } from '../../../../src/call-manager/trunks/admin.ts';
import { TrunkBook } from '../../../../src/call-manager/trunks/book.ts';
import { TrunkHealth } from '../../../../src/call-manager/trunks/health.ts';
import { limits } from '../../../../src/domain/limits.ts';
import { silentLog } from '../../../../src/domain/log.ts';
import { sealingKey } from '../../../../src/domain/sealing.ts';
import { silentKey } from '../../../../src/domain/trunk.ts';
import type { SrfInstance } from '../../../../src/sip/srf.ts';
import { MemoryStore } from '../fakes.ts';

const intervalMs = 30_000;
const misses = limits.trunkMissesMax;

let memory: MemoryStore;
let book: TrunkBook;
let admin: TrunkAdmin;
let asked: { to: string; proxy: string; answer(status: number): void }[];
let connected: boolean;

type Done = (error: Error | null, request?: EventEmitter) => void;
type Asking = { headers: Record<string, string>; proxy: string };

const srf = {
  request(_uri: string, { headers, proxy }: Asking, done: Done) {
    if (!connected) {
      throw new Error('no connection');
    }
    const request = new EventEmitter();
    const answer = (status: number) => void request.emit('response', { status });
    asked.push({ to: headers.to ?? '', proxy, answer });
    done(null, request);
  },
} as unknown as SrfInstance;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 });
  memory = new MemoryStore();
  asked = [];
  connected = true;
  const key = sealingKey('cluster');
  book = new TrunkBook(memory.store, key);
  admin = new TrunkAdmin({ store: memory.store, book, key, isAsked: true, now: Date.now });
  await admin.add({ name: 'carrier', proxy: '192.0.2.1', transport: 'tls' });
});

afterEach(() => {
  vi.useRealTimers();
});

function leader(everyMs = intervalMs): TrunkHealth {
  const options = { srf, store: memory.store, book, log: silentLog, now: Date.now };
  const health = new TrunkHealth({ ...options, intervalMs: everyMs });
  health.lead();
  return health;
}

/** Whether the trunk answers, as every node shows it. */
const answers = () => admin.list()[0]?.answers;

/** Time passes, and what was to be committed is. */
async function pass(health: TrunkHealth, ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  health.tick();
}

async function goDown(health: TrunkHealth): Promise<void> {
  health.tick();
  for (let missed = 0; missed < misses; missed += 1) {
    await pass(health, limits.trunkOptionsAnswerMs);
    await pass(health, limits.trunkOptionsAnswerMs);
  }
}

test('a trunk is asked where its calls go, and again after the interval', async () => {
  const health = leader();
  health.tick();
  health.tick();
  expect(asked).toMatchObject([{ to: '<sip:192.0.2.1>', proxy: 'sip:192.0.2.1;transport=tls' }]);
  asked[0]?.answer(200);
  await pass(health, intervalMs - 1);
  expect(asked).toHaveLength(1);
  await pass(health, 1);
  expect(asked).toHaveLength(2);
  expect(answers()).toBe(true);
});

test('a trunk that misses two is down, and up again with its next answer', async () => {
  const health = leader();
  await goDown(health);
  expect(answers()).toBe(false);
  const [trunk] = book.trunks();
  expect(trunk && book.isFailing(trunk, Date.now())).toBe(true);
  asked.at(-1)?.answer(404);
  await pass(health, 0);
  expect(answers()).toBe(true);
  expect(memory.keys.has(silentKey('carrier'))).toBe(false);
});

test.each([408, 500, 503])('an answer of %i is none', async (status) => {
  const health = leader();
  health.tick();
  for (let missed = 0; missed < misses; missed += 1) {
    asked.at(-1)?.answer(status);
    await pass(health, limits.trunkOptionsAnswerMs);
  }
  expect(answers()).toBe(false);
});

test('one that is missed and one that is answered make no trunk silent', async () => {
  const health = leader();
  health.tick();
  for (let turn = 0; turn < 4; turn += 1) {
    asked.at(-1)?.answer(turn % 2 === 0 ? 503 : 200);
    await pass(health, intervalMs);
  }
  expect(answers()).toBe(true);
});

test('the next leader begins with what was found out', async () => {
  const first = leader();
  await goDown(first);
  first.follow();
  const told = asked.length;
  const next = leader();
  expect(answers()).toBe(false);
  next.tick();
  expect(asked).toHaveLength(told + 1);
  asked.at(-1)?.answer(200);
  await pass(next, 0);
  expect(answers()).toBe(true);
});

test('what is said after another node leads is not heard', async () => {
  const health = leader();
  health.tick();
  health.follow();
  await vi.advanceTimersByTimeAsync(10 * intervalMs);
  asked[0]?.answer(503);
  expect(health.counts).toEqual({ answered: 0, missed: 0 });
});

test('without a connection to the engine no trunk is blamed', async () => {
  const health = leader();
  connected = false;
  for (let turn = 0; turn < 5; turn += 1) {
    await pass(health, limits.trunkOptionsAnswerMs);
  }
  expect(answers()).toBe(true);
});

test('a trunk that is disabled or removed is not asked, and nothing of it stays', async () => {
  const health = leader();
  await goDown(health);
  await Promise.all([admin.enable('carrier', false), pass(health, 0)]);
  expect(answers()).toBeNull();
  const told = asked.length;
  await pass(health, 2 * intervalMs);
  expect(asked).toHaveLength(told);
  expect(memory.keys.has(silentKey('carrier'))).toBe(false);
});

test('many trunks are asked a few at a time, and none with an interval of 0', async () => {
  for (let i = 0; i < 2 * limits.trunkOptionsMax; i += 1) {
    await admin.add({ name: `t${i}`, proxy: `192.0.2.${i + 2}` });
  }
  leader(0).tick();
  expect(asked).toHaveLength(0);
  leader().tick();
  expect(asked).toHaveLength(limits.trunkOptionsMax);
});
