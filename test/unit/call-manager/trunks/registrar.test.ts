import { EventEmitter } from 'node:events';
import { beforeEach, expect, test, vi } from 'vitest';
import { TrunkAdmin } from '../../../../src/call-manager/trunks/admin.ts';
import { TrunkBook } from '../../../../src/call-manager/trunks/book.ts';
import { TrunkRegistrar } from '../../../../src/call-manager/trunks/registrar.ts';
import { limits } from '../../../../src/domain/limits.ts';
import { silentLog } from '../../../../src/domain/log.ts';
import { sealingKey } from '../../../../src/domain/sealing.ts';
import { parseTrunkState, trunkKey } from '../../../../src/domain/trunk.ts';
import type { SrfInstance } from '../../../../src/sip/srf.ts';
import { MemoryStore } from '../fakes.ts';

const count = 3 * limits.trunkRegistersMax;

let memory: MemoryStore;
let book: TrunkBook;
let now: number;
let admin: TrunkAdmin;

beforeEach(async () => {
  memory = new MemoryStore();
  now = 1_000_000;
  const key = sealingKey('cluster');
  book = new TrunkBook(memory.store, key);
  admin = new TrunkAdmin({ store: memory.store, book, key, isAsked: false, now: () => now });
  for (let i = 0; i < count; i += 1) {
    await admin.add({ name: `t${i}`, proxy: '192.0.2.1', user: `u${i}`, password: 'p' });
  }
});

interface Sent {
  to: string;
  cseq: number;
  expires: string;
  answer(status: number, expires?: string): void;
}

/** A leader; `sent` has the REGISTERs that it has sent. */
function leader() {
  const sent: Sent[] = [];
  const srf = {
    request(_uri: string, { headers }: { headers: Record<string, string> }, done: Done) {
      const request = Object.assign(new EventEmitter(), { get: (name: string) => headers[name] });
      const answer = (status: number, expires = '100') => {
        const values: Record<string, string> = { Expires: expires };
        const get = (name: string) => values[name];
        const more = { reason: '', source_address: '192.0.2.1', msg: { raw: '' } };
        request.emit('response', { status, get, ...more });
      };
      const cseq = Number.parseInt(headers.CSeq ?? '', 10);
      sent.push({ to: headers.to ?? '', cseq, expires: headers.Expires ?? '', answer });
      done(null, request);
    },
  } as unknown as SrfInstance;
  const parts = { srf, store: memory.store, book, log: silentLog, now: () => now };
  const registrar = new TrunkRegistrar(parts);
  registrar.lead();
  return { registrar, sent };
}

type Done = (error: Error | null, request?: EventEmitter) => void;

function state(name: string) {
  return parseTrunkState(memory.keys.get(trunkKey(name)) ?? '{}');
}

test('a leader with many trunks due registers a few at a time', async () => {
  const { registrar, sent } = leader();
  registrar.tick();
  registrar.tick();
  expect(sent).toHaveLength(limits.trunkRegistersMax);
  sent[0]?.answer(200);
  await vi.waitFor(() => expect(state('t0')).toMatchObject({ state: 'registered' }));
  await vi.waitFor(() => {
    registrar.tick();
    expect(sent).toHaveLength(limits.trunkRegistersMax + 1);
  });
});

test('a leader that died in the middle leaves the others to the next, who asks nobody twice', async () => {
  const first = leader();
  first.registrar.tick();
  first.sent[0]?.answer(200);
  await vi.waitFor(() => expect(state('t0')).toMatchObject({ state: 'registered' }));
  first.registrar.follow();
  const next = leader();
  next.registrar.tick();
  expect(next.sent).toHaveLength(limits.trunkRegistersMax);
  expect(next.sent.some(({ to }) => to === '<sip:u0@192.0.2.1>')).toBe(false);
  // What comes late is not heard any more.
  first.sent[1]?.answer(200);
  expect(state('t1')).toBeNull();
  now += 80_000;
  for (const one of next.sent) {
    one.answer(503);
  }
  await vi.waitFor(() => {
    next.registrar.tick();
    const again = next.sent.find(({ to }) => to === '<sip:u0@192.0.2.1>');
    expect(again?.cseq).toBeGreaterThan(2 * limits.trunkCseqJump - 1);
  });
});

test('what was disabled while it registered stays disabled', async () => {
  const { registrar, sent } = leader();
  registrar.tick();
  memory.query("UPDATE trunks SET enabled = 0 WHERE name = 't0'");
  sent[0]?.answer(200);
  await vi.waitFor(() => {
    registrar.tick();
    expect(sent).toHaveLength(limits.trunkRegistersMax + 1);
  });
  expect(state('t0')).toBeNull();
  expect(sent.filter(({ to }) => to === '<sip:u0@192.0.2.1>')).toHaveLength(1);
});

/** The first trunk was registered and then disabled: its second REGISTER is not answered yet. */
async function takenAway() {
  const { registrar, sent } = leader();
  registrar.tick();
  sent[0]?.answer(200);
  await vi.waitFor(() => expect(state('t0')).toMatchObject({ state: 'registered' }));
  await admin.enable('t0', false);
  const ofFirst = () => sent.filter(({ to }) => to === '<sip:u0@192.0.2.1>');
  await vi.waitFor(() => {
    registrar.tick();
    expect(ofFirst()).toHaveLength(2);
  });
  return { registrar, ofFirst };
}

test('a trunk that is disabled is taken away at its provider, once', async () => {
  const { registrar, ofFirst } = await takenAway();
  expect(ofFirst().map((one) => one.expires)).toEqual(['3600', '0']);
  expect(ofFirst()[1]?.cseq).toBeGreaterThan(ofFirst()[0]?.cseq ?? 0);
  ofFirst()[1]?.answer(200, '0');
  await vi.waitFor(() => expect(state('t0')).toBeNull());
  registrar.tick();
  expect(ofFirst()).toHaveLength(2);
});

test('a trunk that is enabled again while it is taken away registers anew', async () => {
  const { registrar, ofFirst } = await takenAway();
  await admin.enable('t0', true);
  ofFirst()[1]?.answer(200, '0');
  await vi.waitFor(() => {
    registrar.tick();
    expect(ofFirst().map((one) => one.expires)).toEqual(['3600', '0', '3600']);
  });
});

/** The first trunk was registered and then removed. */
async function removed() {
  const { registrar, sent } = leader();
  registrar.tick();
  sent[0]?.answer(200, '3600');
  await vi.waitFor(() => expect(state('t0')).toMatchObject({ state: 'registered' }));
  await admin.remove('t0');
  return { registrar, sent, ofFirst: (all = sent) => all.filter(isOfFirst) };
}

const isOfFirst = ({ to }: Sent) => to === '<sip:u0@192.0.2.1>';
const left = () => book.left().map(({ trunk }) => trunk.name);

test('a trunk that is removed is taken away at its provider, by the next leader if need be', async () => {
  const { registrar, ofFirst } = await removed();
  registrar.follow();
  expect(left()).toEqual(['t0']);
  const next = leader();
  await vi.waitFor(() => {
    next.registrar.tick();
    expect(ofFirst(next.sent)).toHaveLength(1);
  });
  const [last] = ofFirst(next.sent);
  expect(last?.expires).toBe('0');
  expect(last?.cseq).toBeGreaterThan(ofFirst()[0]?.cseq ?? 0);
  last?.answer(200, '0');
  await vi.waitFor(() => expect(left()).toEqual([]));
  expect(next.registrar.counts.left).toBe(1);
});

test('a provider that does not answer is told a few times that a trunk is gone', async () => {
  const { registrar, ofFirst } = await removed();
  for (let told = 1; told <= limits.trunkLeavingMax; told += 1) {
    await vi.waitFor(() => {
      registrar.tick();
      expect(ofFirst()).toHaveLength(1 + told);
    });
    ofFirst().at(-1)?.answer(503);
    await vi.waitFor(() => {
      const due = book.left().map((one) => one.state.dueAt > now);
      expect(due).toEqual(told < limits.trunkLeavingMax ? [true] : []);
    });
    now += 60_000;
  }
  registrar.tick();
  expect(ofFirst().map((one) => one.expires)).toEqual(['3600', '0', '0', '0', '0', '0']);
});

test('a trunk that is removed and added again keeps its registration', async () => {
  const { registrar, ofFirst } = await removed();
  await admin.add({ name: 'again', proxy: '192.0.2.1', user: 'u0', password: 'p' });
  await vi.waitFor(() => {
    registrar.tick();
    expect(left()).toEqual([]);
  });
  await vi.waitFor(() => {
    registrar.tick();
    expect(ofFirst().map((one) => one.expires)).toEqual(['3600', '3600']);
  });
});

test('what is added while its account is taken away waits for that', async () => {
  const { registrar, ofFirst } = await removed();
  await vi.waitFor(() => {
    registrar.tick();
    expect(ofFirst().at(-1)?.expires).toBe('0');
  });
  await admin.add({ name: 'again', proxy: '192.0.2.1', user: 'u0', password: 'p' });
  registrar.tick();
  expect(ofFirst()).toHaveLength(2);
  ofFirst()[1]?.answer(200, '0');
  await vi.waitFor(() => {
    registrar.tick();
    expect(ofFirst().map((one) => one.expires)).toEqual(['3600', '0', '3600']);
  });
});

test('what was removed while it registered is taken away', async () => {
  const { registrar, sent } = leader();
  registrar.tick();
  await admin.remove('t0');
  sent[0]?.answer(200);
  await vi.waitFor(() => {
    registrar.tick();
    expect(sent.filter(isOfFirst).map((one) => one.expires)).toEqual(['3600', '0']);
  });
});

test('without a majority nothing is sent again at every tick', async () => {
  const { registrar, sent } = leader();
  memory.broken = true;
  registrar.tick();
  for (const one of [...sent]) {
    one.answer(200);
  }
  await vi.waitFor(() => expect(registrar.counts.registered).toBe(limits.trunkRegistersMax));
  registrar.tick();
  expect(sent).toHaveLength(limits.trunkRegistersMax);
  expect(state('t0')).toBeNull();
});

test('a Contact that is not kept is no registration', async () => {
  const { registrar, sent } = leader();
  registrar.tick();
  sent[0]?.answer(200, '0');
  await vi.waitFor(() =>
    expect(state('t0')).toMatchObject({ state: 'failed', reason: 'the provider keeps no Contact' }),
  );
});
