import { beforeEach, expect, test } from 'vitest';
import { Leftovers } from '../../../src/call-manager/leftovers.ts';
import { PbxError } from '../../../src/domain/errors.ts';
import { silentLog } from '../../../src/domain/log.ts';

let sessions: Map<string, Set<string>>;
let calls: Set<string>;
let leading: boolean;
let leftovers: Leftovers;

beforeEach(() => {
  sessions = new Map([
    ['10.0.0.1:2223', new Set(['lost', 'held'])],
    ['10.0.0.2:2223', new Set(['lost'])],
  ]);
  calls = new Set(['held']);
  leading = true;
  leftovers = new Leftovers({
    servers: () => [...sessions.keys()].map((ng) => ({ name: ng, ng })),
    list: async (ng) => {
      const found = sessions.get(ng);
      if (found === undefined || found.has('silent server')) {
        throw new PbxError('PBX_MEDIA_SILENT');
      }
      return [...found];
    },
    delete: async (ng, callId) => {
      sessions.get(ng)?.delete(callId);
    },
    isKnown: (callId) => calls.has(callId),
    leads: () => leading,
    log: silentLog,
  });
});

test('what two rounds find without a call is deleted, at every server', async () => {
  await leftovers.run();
  expect(leftovers.deleted).toBe(0);
  await leftovers.run();
  expect(leftovers.deleted).toBe(2);
  expect([...(sessions.get('10.0.0.1:2223') ?? [])]).toEqual(['held']);
  expect([...(sessions.get('10.0.0.2:2223') ?? [])]).toEqual([]);
});

test('a session whose call appears between the rounds stays', async () => {
  await leftovers.run();
  calls.add('lost');
  await leftovers.run();
  calls.delete('lost');
  await leftovers.run();
  expect(leftovers.deleted).toBe(0);
});

test('a node that does not lead deletes nothing and forgets what it saw', async () => {
  await leftovers.run();
  leading = false;
  await leftovers.run();
  leading = true;
  await leftovers.run();
  expect(leftovers.deleted).toBe(0);
});

test('a server that does not answer keeps nobody from asking the others', async () => {
  sessions.get('10.0.0.1:2223')?.add('silent server');
  await leftovers.run();
  await leftovers.run();
  expect(leftovers.deleted).toBe(1);
});
