import { beforeEach, expect, test } from 'vitest';
import type { TrunkApi } from '../../../src/call-manager/api.ts';
import { Queries } from '../../../src/call-manager/queries.ts';
import { ServerWatch } from '../../../src/cluster/index.ts';
import { limits } from '../../../src/domain/limits.ts';
import { MemoryStore } from './fakes.ts';

let memory: MemoryStore;
let queries: Queries;

beforeEach(() => {
  memory = new MemoryStore();
  queries = new Queries({
    store: memory.store,
    servers: new ServerWatch(memory.store),
    domain: 'pbx.test',
    peers: [{ id: 1, name: 'cm-1' }],
    vip: ['192.0.2.10'],
    trunks: {} as TrunkApi,
    now: () => 1000,
  });
});

const user = (name: string) => ({ name, password: 'secret' });

test('users are added in batches and listed with their devices', async () => {
  const many = Array.from({ length: limits.usersPerBatch + 1 }, (_, i) => user(`u${i}`));
  expect(await queries.addUsers(many)).toEqual({ ok: true, value: { added: many.length } });
  expect(memory.log.filter((line) => line.startsWith('SQL.EXEC INSERT'))).toHaveLength(2);
  const binding = { contact: 'sip:u0@h', expiresAt: 2000, q: 1, registeredAt: 0 };
  memory.keys.set('registration:u0', JSON.stringify({ user: 'u0', bindings: [binding] }));
  expect(queries.users().find(({ name }) => name === 'u0')).toEqual({
    name: 'u0',
    displayName: 'u0',
    createdAt: '1970-01-01T00:00:01.000Z',
    devices: 1,
  });
});

test('a name that is taken or twice in a request adds nobody', async () => {
  await queries.addUsers([user('1001')]);
  for (const names of [
    ['1002', '1001'],
    ['1003', '1003'],
  ]) {
    const result = await queries.addUsers(names.map(user));
    expect(result.ok ? null : result.error.code).toBe('PBX_USER_EXISTS');
  }
  expect(queries.users().map(({ name }) => name)).toEqual(['1001']);
});

test('a taken name is noticed by the store when this node is behind', async () => {
  const behind = memory.query.bind(memory);
  await queries.addUsers([user('1001')]);
  memory.query = (sql, args) => (sql.startsWith('SELECT 1') ? [] : behind(sql, args));
  const result = await queries.addUsers([user('1001')]);
  expect(result.ok ? null : result.error.code).toBe('PBX_USER_EXISTS');
});

test('a deleted user loses its devices with it', async () => {
  await queries.addUsers([user('1001')]);
  memory.keys.set('registration:1001', '{}');
  expect(await queries.deleteUser('1001')).toEqual({ ok: true, value: { deleted: '1001' } });
  expect(memory.keys.size).toBe(0);
  const again = await queries.deleteUser('1001');
  expect(again.ok ? null : again.error.code).toBe('PBX_USER_UNKNOWN');
});

test('without a majority nothing is added and the error says what to do', async () => {
  memory.broken = true;
  const result = await queries.addUsers([user('1001')]);
  expect(result.ok ? null : result.error.code).toBe('PBX_STORE_UNAVAILABLE');
});

test('call records come newest first, by pages', () => {
  for (const ended of [1000, 3000, 2000]) {
    memory.query(
      `INSERT INTO cdrs VALUES ('c${ended}', 'a', 'b', 0, NULL, ${ended}, 'busy', 'callee', NULL, NULL)`,
    );
  }
  const page = queries.cdrs({ limit: 2 });
  expect(page.map(({ id }) => id)).toEqual(['c3000', 'c2000']);
  const older = queries.cdrs({ before: page[1]?.endedAt ?? '' });
  expect(older.map(({ id }) => id)).toEqual(['c1000']);
});

test('calls that ended in the same millisecond are each on one page', () => {
  for (const id of ['a', 'b', 'c']) {
    memory.query(
      `INSERT INTO cdrs VALUES ('${id}', 'x', 'y', 0, NULL, 5000, 'busy', 'callee', NULL, NULL)`,
    );
  }
  const [first] = queries.cdrs({ limit: 1 });
  const rest = queries.cdrs({ before: first?.endedAt ?? '', id: first?.id ?? '' });
  expect([first?.id, ...rest.map(({ id }) => id)]).toEqual(['a', 'b', 'c']);
});

test('users come in pages, each once', async () => {
  await queries.addUsers(['1001', '1002', '1003'].map(user));
  const names = (after?: string) =>
    queries.users({ limit: 2, ...(after ? { after } : {}) }).map(({ name }) => name);
  expect(names()).toEqual(['1001', '1002']);
  expect(names('1002')).toEqual(['1003']);
});
