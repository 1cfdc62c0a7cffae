import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { formatDuration, formatTable } from '../../../src/cli/output.ts';
import { runCli } from '../../../src/cli/program.ts';
import { formatStatus, isWell } from '../../../src/cli/status.ts';
import { usersToAdd } from '../../../src/cli/user.ts';
import type { StatusEntry } from '../../../src/portal/api/shapes.ts';
import { projectRoot } from '../../support/source.ts';

const directory = mkdtempSync(join(tmpdir(), 'raftpbx-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** Runs the real program where no lab is. */
function raftpbx(...args: string[]) {
  return spawnSync(join(projectRoot, 'bin/raftpbx'), args, {
    encoding: 'utf8',
    env: { ...process.env, RAFTPBX_LAB: directory },
  });
}

describe('the program', () => {
  it('helps with status 0', () => {
    const { status, stdout } = raftpbx('--help');
    expect(status).toBe(0);
    expect(stdout).toContain('Usage: raftpbx');
  });

  it('ends quietly when nobody reads on', () => {
    const piped = spawnSync('sh', ['-c', 'bin/raftpbx --help | :'], {
      cwd: projectRoot,
      encoding: 'utf8',
    });
    expect(piped.stderr).toBe('');
  });

  it('answers wrong use with status 2, the reason, and nothing on standard output', async () => {
    const wrong = [
      ['stauts'],
      ['get', 'colours'],
      ['get', 'users', '-w', '-o', 'json'],
      ['user', 'add'],
      ['user', 'add', '--count', '0', '--from', '1'],
      ['media', '--interface', '127.0.0.1', '--ng', 'here', '--ports', '1-2'],
      ['sip', '--listen', '127.0.0.1:5060', '--drachtio', '127.0.0.1:9022', '--secret', 's'],
      [
        'store',
        '--id',
        '4',
        '--dir',
        directory,
        '--resp',
        '127.0.0.1:1',
        '--raft',
        '127.0.0.1:2',
      ].concat(['--peers', '1=127.0.0.1:2']),
    ];
    const output = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const errors = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    for (const args of wrong) {
      errors.mockClear();
      expect([args[0], await runCli(args)]).toEqual([args[0], 2]);
      expect(errors).toHaveBeenCalled();
    }
    expect(output).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  it('says that no lab is up, and how to start one', () => {
    const { status, stderr } = raftpbx('status', '-o', 'json');
    expect(status).toBe(2);
    expect(stderr).toMatch(/PBX_LAB_DOWN: .*\n {2}fix: start it with 'make cluster-up'/);
  });

  it('refuses a configuration with one log line that has code, place and fix', () => {
    const { status, stdout } = raftpbx('start', '--config', join(directory, 'none.yaml'));
    expect(status).toBe(2);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'fatal',
      code: 'PBX_CONFIG_INVALID',
      fix: expect.stringContaining('--config'),
    });
  });
});

describe('users on the command line', () => {
  it('are one with a password given or made', () => {
    expect(usersToAdd('1021', { password: 'p' })).toEqual([{ name: '1021', password: 'p' }]);
    expect(usersToAdd('1021', {})[0]?.password).toMatch(/^[\w-]{20}$/);
  });

  it('are many with numbers that keep their zeros and passwords of their own', () => {
    const users = usersToAdd(undefined, { count: '3', from: '0099' });
    expect(users.map((user) => user.name)).toEqual(['0099', '0100', '0101']);
    expect(new Set(users.map((user) => user.password)).size).toBe(3);
  });
});

type Node = StatusEntry['store']['nodes'][number];

describe('what people read', () => {
  const well: StatusEntry = {
    leader: 'cm-1',
    term: 3,
    vip: { address: '10.77.0.100', holder: 'cm-1' },
    servers: [{ name: 'cm-1', roles: ['call-manager'], state: 'up' }],
    registrations: 2,
    calls: 1,
    alerts: 0,
    alarms: [],
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
  };

  it('is one screen, and the exit status follows it', () => {
    expect(formatStatus(well)).toContain('VIP            10.77.0.100 held by cm-1');
    expect(formatStatus(well)).toMatch(/cm-2 +2 +follower +12 +31ms/);
    expect(formatStatus(well)).toContain('cm-1 (term 3) since 2026-01-02T03:04:05.000Z');
    expect(isWell(well)).toBe(true);
    expect(isWell({ ...well, leader: null })).toBe(false);
    expect(isWell({ ...well, alerts: 1 })).toBe(false);
    const down = [{ name: 'cm-2', roles: [], state: 'down' as const }];
    expect(isWell({ ...well, servers: down })).toBe(false);
  });

  it('tells every alarm with what to do, and whose directory is lost', () => {
    const [first, second] = well.store.nodes as [Node, Node];
    const problem = 'it has lost its directory';
    const status: StatusEntry = {
      ...well,
      alarms: [{ server: 'cm-1', code: 'PBX_STORE_MEMBER_WIPED', text: 'node 2', fix: 'rejoin' }],
      store: { ...well.store, nodes: [first, { ...second, problem }] },
    };
    expect(isWell(status)).toBe(false);
    expect(formatStatus(status)).toContain(
      'alarm PBX_STORE_MEMBER_WIPED at cm-1: node 2\n  fix: rejoin',
    );
    expect(formatStatus(status)).toMatch(/cm-2 .* it has lost its directory/);
  });

  it('is aligned in columns, wide ones only when wanted', () => {
    const columns = [
      { title: 'NAME', value: (row: { name: string }) => row.name },
      { title: 'MORE', value: () => null, wide: true },
    ];
    expect(formatTable([{ name: 'cm-1' }], columns)).toBe('NAME\ncm-1');
    expect(formatTable([{ name: 'media-1' }], columns, true)).toBe('NAME      MORE\nmedia-1   -');
  });

  it('counts time in units of people', () => {
    expect([5000, 125_000, 7_500_000].map(formatDuration)).toEqual(['5s', '2m05s', '2h05m']);
  });
});
