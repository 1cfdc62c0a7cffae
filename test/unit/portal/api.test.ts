import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CallManagerApi, NewUser, TrunkApi } from '../../../src/call-manager/api.ts';
import { fail, PbxError, succeed } from '../../../src/domain/errors.ts';
import { Health } from '../../../src/observe/health.ts';
import { createLog } from '../../../src/observe/log.ts';
import {
  Authenticator,
  failuresMax,
  failureWindowMs,
  hashAdministrator,
  parseAdministrator,
} from '../../../src/portal/api/authentication.ts';
import { type ApiServer, startApi } from '../../../src/portal/api/index.ts';
import type { MemberSource } from '../../../src/portal/api/members.ts';
import type { TraceSource } from '../../../src/portal/trace-nodes.ts';

const ban = {
  key: '203.0.113.5',
  address: '203.0.113.5',
  user: null,
  since: '2026-11-01T00:00:00.000Z',
  until: '2026-11-01T00:01:00.000Z',
  times: 1,
};

function sourceWith(users: Map<string, NewUser>): CallManagerApi {
  return {
    trunks: {} as TrunkApi,
    status: () => ({
      leader: 'cm-1',
      term: 3,
      vip: { address: '10.77.0.100', holder: 'cm-1' },
      servers: [],
      registrations: 0,
      calls: 0,
      alerts: 0,
      alarms: [{ server: 'cm-2', code: 'PBX_STORE_DISK_SLOW', text: 'slow', fix: 'look' }],
      store: {
        leaderSince: '2026-01-02T03:04:05.000Z',
        nodes: [
          { id: 1, name: 'cm-1', role: 'leader', behind: 0, heardMs: 0, problem: null },
          { id: 2, name: 'cm-2', role: 'follower', behind: 12, heardMs: 31, problem: null },
        ],
        commitLag: 12,
        applyLag: 0,
        snapshotAt: null,
        logBytes: 2 ** 20,
        sqlBytes: 4096,
        fsyncP99Us: 100,
        commitP99Us: 1000,
      },
    }),
    servers: () =>
      ['media-1', 'cm-1', 'cm-2'].map((name) => ({
        name,
        roles: [],
        address: '10.77.0.11',
        state: 'up' as const,
        load: 0,
        capacity: 0,
        alarms: [],
      })),
    calls: () => [],
    registrations: () => [],
    bans: () => [ban],
    liftBan: async (address) =>
      address === ban.address ? succeed({ lifted: 1 }) : fail('PBX_BAN_UNKNOWN', address),
    users: () =>
      [...users.keys()].map((name) => ({
        name,
        displayName: name,
        createdAt: '2026-11-01T00:00:00.000Z',
        devices: 0,
      })),
    cdrs: () => {
      throw new PbxError('PBX_STORE_UNAVAILABLE');
    },
    cdr: () => null,
    addUsers: async (added) => {
      const taken = added.filter((user) => users.has(user.name)).map((user) => user.name);
      for (const user of taken.length === 0 ? added : []) {
        users.set(user.name, user);
      }
      return taken.length > 0
        ? fail('PBX_USER_EXISTS', taken.join(', '))
        : succeed({ added: added.length });
    },
    deleteUser: async (name) =>
      users.delete(name) ? succeed({ deleted: name }) : fail('PBX_USER_UNKNOWN', name),
  };
}

const traced = {
  atUs: 1,
  sent: true,
  transport: 'udp' as const,
  local: '10.77.0.100:5060',
  remote: '10.77.0.50:5060',
  length: 4,
  encoding: 'utf8' as const,
  text: 'text',
};

const traceSource: TraceSource = {
  server: 'cm-1',
  here: (ids) => ({
    callIds: ids.filter((id) => id === 'known'),
    messages: ids.includes('known') ? [traced] : [],
    skipped: 0,
  }),
  others: () => [{ name: 'cm-2', api: '10.77.0.12:8443' }],
  ask: async (_node, ids, authorization) => {
    if (ids.includes('lost') || !authorization.startsWith('Basic ')) {
      throw new Error('connect ECONNREFUSED');
    }
    return { callIds: [], messages: [], skipped: 0 };
  },
};

/** Servers whose last member has left. */
const forgotten: string[] = [];

const memberSource: MemberSource = {
  list: () =>
    [1, 2, 3].map((id) => ({
      id,
      name: `cm-${id}`,
      raft: `10.77.0.1${id}:7001`,
      resp: null,
      voter: true,
      leader: id === 1,
      reachable: id !== 2,
      problem: id === 2 ? 'it has lost its directory' : null,
      matched: 7,
    })),
  alarms: () => [],
  change: async (change) =>
    change.type === 'remove'
      ? { code: 'PBX_MEMBER_QUORUM', text: 'the cluster would stand still', fix: 'repair it' }
      : null,
  forget: async (server) => forgotten.push(server),
  wanted: () =>
    [1, 4, 3].map((id) => ({
      id,
      name: id === 4 ? 'cm-2' : `cm-${id}`,
      address: `10.77.0.1${id === 4 ? 2 : id}`,
    })),
  ports: { raft: 7001, resp: 6379 },
};

describe('the API', () => {
  let api: ApiServer;
  const users = new Map<string, NewUser>();
  let holdsVip = true;
  const pieces = async function* () {
    yield Buffer.from('all of ');
    yield Buffer.from('it');
  };
  let takeBackup = async () => pieces();
  const authorization = `Basic ${Buffer.from('admin:right').toString('base64')}`;
  const ask = (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) =>
    api.inject({ method, url, headers: { authorization }, ...(payload ? { payload } : {}) });

  beforeEach(async () => {
    users.clear();
    api = await startApi({
      listen: '',
      tls: null,
      administrator: await hashAdministrator('admin', 'right'),
      source: sourceWith(users),
      members: memberSource,
      here: { server: 'cm-1', holdsVip: () => holdsVip },
      backups: { backup: () => takeBackup() },
      traces: traceSource,
      health: new Health('cm-1', []),
      log: createLog('cm-1', 'error', { write: () => undefined }),
    });
  });
  afterEach(() => api.close());

  it('gathers the trace of a call, and says what is missing', async () => {
    const known = await ask('GET', '/api/v1/traces?id=known');
    expect(known.json()).toMatchObject({
      callIds: ['known'],
      messages: [{ server: 'cm-1', text: 'text' }],
      servers: [{ name: 'cm-1' }, { name: 'cm-2' }],
    });
    const here = await ask('GET', '/api/v1/traces?id=lost&id=known&here=true');
    expect(here.json()).toMatchObject({ callIds: ['known'], servers: [{ name: 'cm-1' }] });
    const lost = await ask('GET', '/api/v1/traces?id=lost');
    expect(lost.json().servers[1]).toEqual({ name: 'cm-2', problem: 'connect ECONNREFUSED' });
    const unknown = await ask('GET', '/api/v1/traces?id=unknown');
    expect([unknown.statusCode, unknown.json().code]).toEqual([404, 'PBX_TRACE_UNKNOWN']);
    const many = Array.from({ length: 33 }, () => 'id=x').join('&');
    expect((await ask('GET', `/api/v1/traces?${many}`)).statusCode).toBe(400);
    expect((await ask('GET', '/api/v1/traces')).statusCode).toBe(400);
  });

  it('streams a backup, one at a time', async () => {
    const taken = await ask('GET', '/api/v1/backup');
    expect(taken.statusCode).toBe(200);
    expect(taken.body).toBe('all of it');
    takeBackup = () =>
      Promise.reject(new Error('PBX_BACKUP_BUSY: a backup is being taken; wait for its end'));
    const refused = await ask('GET', '/api/v1/backup');
    expect(refused.statusCode).toBe(409);
    expect(refused.json()).toEqual({
      code: 'PBX_BACKUP_BUSY',
      message: 'a backup is being taken',
      fix: 'wait for its end',
    });
  });

  it('asks for the administrator, and answers him', async () => {
    const stranger = await api.inject({ method: 'GET', url: '/api/v1/status' });
    expect(stranger.statusCode).toBe(401);
    expect(stranger.json()).toMatchObject({ code: 'PBX_API_UNAUTHORIZED' });
    const known = await ask('GET', '/api/v1/status');
    expect(known.statusCode).toBe(200);
    expect(known.json()).toMatchObject({ leader: 'cm-1', term: 3, alerts: 0 });
    expect(known.json().vip.holder).toBe('cm-1');
    holdsVip = false;
    expect((await ask('GET', '/api/v1/status')).json().vip.holder).toBeNull();
  });

  it('pages by key', async () => {
    const first = (await ask('GET', '/api/v1/servers?limit=2')).json();
    expect(first.items.map((one: { name: string }) => one.name)).toEqual(['cm-1', 'cm-2']);
    expect(first.next).toBe('cm-2');
    const second = (await ask('GET', '/api/v1/servers?limit=2&after=cm-2')).json();
    expect(second.items.map((one: { name: string }) => one.name)).toEqual(['media-1']);
    expect(second.next).toBeNull();
  });

  it('lists bans and lifts one', async () => {
    const bans = (await ask('GET', '/api/v1/bans')).json();
    expect(bans.items).toMatchObject([{ address: '203.0.113.5', user: null, times: 1 }]);
    expect((await ask('DELETE', '/api/v1/bans/203.0.113.5')).json()).toEqual({ lifted: 1 });
    const free = await ask('DELETE', '/api/v1/bans/203.0.113.6');
    expect([free.statusCode, free.json().code]).toEqual([404, 'PBX_BAN_UNKNOWN']);
    expect((await ask('DELETE', '/api/v1/bans/nonsense')).statusCode).toBe(400);
  });

  it('shows the members and what differs from the configuration', async () => {
    const members = (await ask('GET', '/api/v1/members')).json();
    expect(members.items[1]).toMatchObject({ id: 2, problem: 'it has lost its directory' });
    const server = { name: 'cm-2', address: '10.77.0.12' };
    expect(members.changes).toEqual([{ type: 'replace', old: 2, new: 4, server }]);
  });

  it('forgets the server of a member that was replaced by one on another server', async () => {
    const replace = (name: string) =>
      ask('POST', '/api/v1/members', {
        type: 'replace',
        old: 2,
        new: 4,
        server: { name, address: '10.77.0.14' },
      });
    expect((await replace('cm-2')).statusCode).toBe(200);
    expect(forgotten).toEqual([]);
    expect((await replace('cm-4')).statusCode).toBe(200);
    expect(forgotten).toEqual(['cm-2']);
  });

  it('changes the members, and says why it does not', async () => {
    const changed = await ask('POST', '/api/v1/members', { type: 'promote', id: 3 });
    expect(changed.statusCode).toBe(200);
    const refused = await ask('POST', '/api/v1/members', { type: 'remove', id: 3 });
    expect(refused.statusCode).toBe(409);
    expect(refused.json()).toMatchObject({ code: 'PBX_MEMBER_QUORUM', fix: 'repair it' });
    const nonsense = await ask('POST', '/api/v1/members', { type: 'add', id: 0, server: 'x' });
    expect(nonsense.statusCode).toBe(400);
  });

  it('adds users, all or none, and removes them', async () => {
    const two = { users: ['1001', '1002'].map((name) => ({ name, password: 'p' })) };
    expect((await ask('POST', '/api/v1/users', two)).statusCode).toBe(201);
    const again = await ask('POST', '/api/v1/users', {
      users: ['1002', '1003'].map((name) => ({ name, password: 'p' })),
    });
    expect(again.statusCode).toBe(409);
    expect(again.json().message).toContain('1002');
    expect([...users.keys()]).toEqual(['1001', '1002']);
    expect((await ask('DELETE', '/api/v1/users/1001')).statusCode).toBe(200);
    expect((await ask('DELETE', '/api/v1/users/1001')).json().code).toBe('PBX_USER_UNKNOWN');
  });

  it('refuses what is wrong with code, message and fix', async () => {
    const bad = [
      await ask('POST', '/api/v1/users', { users: [{ name: 'a b', password: 'p' }] }),
      await ask('GET', '/api/v1/users?limit=0'),
      await ask('GET', '/api/v1/users?colour=red'),
    ];
    for (const answer of bad) {
      expect(answer.statusCode).toBe(400);
      expect(Object.keys(answer.json())).toEqual(['code', 'message', 'fix']);
    }
    expect((await ask('GET', '/api/v1/cdrs')).statusCode).toBe(503);
    expect((await ask('GET', '/nothing')).json().code).toBe('PBX_API_UNKNOWN');
  });

  it('describes itself and its health without a password', async () => {
    const document = (await api.inject({ method: 'GET', url: '/api/v1/openapi.json' })).json();
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/api/v1/status', '/api/v1/users', '/api/v1/users/{name}']),
    );
    expect((await api.inject({ method: 'GET', url: '/healthz' })).statusCode).toBe(503);
  });
});

describe('guessing passwords', () => {
  const header = (password: string) =>
    `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;

  it('locks the address out for a while, and only that address', async () => {
    let nowMs = 0;
    const administrator = parseAdministrator(await hashAdministrator('admin', 'right'));
    const authenticator = new Authenticator(administrator, () => nowMs);
    const burst = Array.from({ length: failuresMax + 5 }, (_, i) =>
      authenticator.check(header(`guess ${i}`), '10.77.0.9'),
    );
    const verdicts = await Promise.all(burst);
    expect(verdicts.filter((one) => !one.allowed && one.retryAfterS !== null)).toHaveLength(5);
    expect(await authenticator.check(header('right'), '10.77.0.9')).toMatchObject({
      allowed: false,
    });
    expect(await authenticator.check(header('right'), '10.77.0.8')).toEqual({ allowed: true });
    nowMs = failureWindowMs + 1;
    expect(await authenticator.check(header('wrong'), '10.77.0.9')).toEqual({
      allowed: false,
      retryAfterS: null,
    });
  });
});
