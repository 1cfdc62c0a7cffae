import { expect, test } from 'vitest';
import type { Call, CallEvent } from '../../../src/call-manager/calls/types.ts';
import { MediaTakeover } from '../../../src/call-manager/media-takeover.ts';
import { silentLog } from '../../../src/domain/log.ts';
import type { Lease } from '../../../src/domain/server.ts';
import type { Command } from '../../../src/native/index.ts';

const lease = (name: string, life = 'a'): Lease => ({
  ...{ name, roles: ['media'], address: '10.0.0.1', ng: `${name}:2223`, ngTcp: `${name}:2223` },
  ...{ life, floating: ['10.0.0.31', '10.0.0.32'], load: 0, capacity: 10, version: '' },
});

function call(id: string, server: string, state: string | undefined): Call {
  const media = {
    server,
    ng: 'x',
    sdp: '',
    moving: false,
    ...(state === undefined ? {} : { state }),
  };
  const fields = { id, media, state: 'answered', caller: 'connected' };
  return { ...fields, move: null, modification: null } as unknown as Call;
}

function world(calls: Call[], owners: Record<string, string>, successor: Lease | null) {
  const values = new Map(Object.entries(owners));
  const did: string[] = [];
  /** Calls whose handshake is under way. */
  const shaking = new Set<string>();
  const live = calls.map((one) => ({
    call: one,
    dispatch: (event: CallEvent) => void did.push(`${event.type} ${one.id}`),
  }));
  let now = 0;
  const takeover = new MediaTakeover({
    calls: () => live,
    store: {
      execute: async ([, key, value, , old]: Command) => {
        if (values.get(String(key)) !== old) {
          return null;
        }
        values.set(String(key), String(value));
        did.push(`given ${key}`);
        return 'OK';
      },
      scan: () => [...values].map(([key, value]) => ({ key, value })),
    },
    links: {
      request: async (server, command, fields) => {
        const { state, 'call-id': id = '' } = fields as { state?: string; 'call-id'?: string };
        did.push(`${command} ${server}`);
        if (shaking.has(id)) {
          throw new Error('Call has a handshake under way');
        }
        if (state === 'broken') {
          throw new Error('Session of another version');
        }
        return { result: 'ok', state: 'written anew' };
      },
    },
    servers: {
      markDead: ({ name }) => void did.push(`dead ${name}`),
      successor: () => successor,
    },
    moveRest: () => void did.push('rest'),
    log: silentLog,
    now: () => now,
  });
  return { takeover, did, shaking, values, pass: (ms: number) => (now += ms) };
}

const mine = { 'media-address:10.0.0.31': 'media-1/a', 'media-address:10.0.0.32': 'media-2/a' };

test('sessions are armed after the address changed hands and before it is active', async () => {
  const { takeover, did, values } = world(
    [call('one', 'media-1', 'state'), call('two', 'media-2', 'state')],
    mine,
    lease('media-2'),
  );
  await takeover.died(lease('media-1'));
  expect(did).toEqual([
    'dead media-1',
    'given media-address:10.0.0.31',
    'restore media-2',
    'activate media-2',
    'mediaTaken one',
    'rest',
  ]);
  expect(values.get('media-address:10.0.0.31')).toBe('media-2/a');
  expect(takeover.taken).toBe(1);
  expect(takeover.isBusy('media-1')).toBe(false);
});

test('a call that cannot be armed is left to a re-INVITE', async () => {
  const calls = [call('one', 'media-1', 'broken'), call('two', 'media-1', 'state')];
  const { takeover, did } = world(calls, mine, lease('media-2'));
  await takeover.died(lease('media-1'));
  expect(did.filter((what) => what.startsWith('mediaTaken'))).toEqual(['mediaTaken two']);
  expect(did.at(-1)).toBe('rest');
});

test.each([
  ['nobody can take it', [call('one', 'media-1', 'state')], mine, null, 'a'],
  ['nothing was written down', [call('one', 'media-1', undefined)], mine, lease('media-2'), 'a'],
  ['it lives again already', [call('one', 'media-1', 'state')], mine, lease('media-2'), 'before'],
] as const)('the address stays when %s', async (_, calls, owners, successor, life) => {
  const { takeover, did } = world([...calls], owners, successor);
  await takeover.died(lease('media-1', life));
  expect(did).toEqual(['dead media-1', 'rest']);
});

test('a session that somebody else has changed is written down anew with the next tick', () => {
  const calls = [call('one', 'media-1', 'state'), call('two', 'media-1', 'state')];
  const { takeover, did } = world(calls, mine, null);
  takeover.changed('one', 'media-1');
  takeover.changed('two', 'media-2');
  takeover.changed('gone', 'media-1');
  takeover.keep();
  expect(did, 'at the server that has the call').toEqual(['snapshot media-1']);
  takeover.keep();
  expect(did, 'once').toEqual(['snapshot media-1']);
});

test('sessions are written down anew after a while, and at once when they are not true', () => {
  const calls = [call('one', 'media-1', 'state'), call('two', 'media-1', undefined)];
  const { takeover, did, pass } = world(calls, mine, null);
  const asked = () => did.filter((what) => what.startsWith('snapshot')).length;
  takeover.keep();
  expect(asked()).toBe(0);
  takeover.keep();
  expect(asked(), 'the one without a state').toBe(1);
  takeover.keep();
  expect(asked(), 'once').toBe(1);
  pass(5_000);
  takeover.keep();
  expect(asked()).toBe(2);
  pass(300_000);
  takeover.keep();
  expect(asked()).toBe(4);
});

test('what cannot be written down yet is asked for again, less and less often', async () => {
  const calls = [call('one', 'media-1', undefined)];
  const { takeover, did, shaking, pass } = world(calls, mine, null);
  const asked = () => did.filter((what) => what.startsWith('snapshot')).length;
  const passed = async (ms: number) => {
    pass(ms);
    takeover.keep();
    await new Promise(setImmediate);
    return asked();
  };
  shaking.add('one');
  await passed(0);
  expect(await passed(0)).toBe(1);
  expect(await passed(4_999)).toBe(1);
  expect(await passed(1)).toBe(2);
  expect(await passed(5_000)).toBe(2);
  expect(await passed(5_000)).toBe(3);
  shaking.clear();
  expect(await passed(20_000)).toBe(4);
  expect(did.at(-1)).toBe('mediaKept one');
});

test('of many that are not true any more all are asked for in the end', () => {
  const calls = Array.from({ length: 250 }, (_, i) => call(`${i}`, 'media-1', undefined));
  const { takeover, did } = world(calls, mine, null);
  for (const asked of [0, 100, 200, 250, 250]) {
    takeover.keep();
    expect(did.filter((what) => what.startsWith('snapshot'))).toHaveLength(asked);
  }
});
