/** `raftpbx store`: a node that runs alone takes users over while it runs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { hashStorePassword } from '../../src/config/store-accounts.ts';
import { freePort } from '../support/free-port.ts';
import { projectRoot } from '../support/source.ts';

let directory = '';
let running: ChildProcess | undefined;
const clients: Redis[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'raftpbx-alone-'));
});

afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.disconnect();
  }
  if (running !== undefined && running.exitCode === null) {
    running.kill('SIGKILL');
    await once(running, 'exit');
  }
  rmSync(directory, { recursive: true });
});

const accountsFile = () => join(directory, 'accounts.yaml');

function writeAccounts(...users: [name: string, password: string][]): void {
  const accounts = users.map(([name, password]) => ({
    name,
    role: 'node',
    hashes: [hashStorePassword(password)],
  }));
  writeFileSync(accountsFile(), stringify(accounts));
}

/** What the node says on standard error, line by line. */
async function start(port: number): Promise<AsyncIterator<{ msg: string; code?: string }>> {
  const raft = `127.0.0.1:${await freePort()}`;
  const words = ['store', '--id', '1', '--dir', join(directory, '1'), '--insecure'];
  words.push('--resp', `127.0.0.1:${port}`, '--raft', raft, '--peers', `1=${raft}`);
  words.push('--accounts', accountsFile());
  const env = { ...process.env, RAFTPBX_LOG: 'info' };
  const child = spawn(join(projectRoot, 'bin/raftpbx'), words, { env });
  running = child;
  const [said] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  expect(said).toMatch(/^ready /);
  return linesOf(child.stderr);
}

async function* linesOf(stream: NodeJS.ReadableStream) {
  let rest = '';
  for await (const chunk of stream) {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      yield JSON.parse(part) as { msg: string; code?: string };
    }
  }
}

async function until(lines: AsyncIterator<{ msg: string; code?: string }>, text: string) {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true || value.msg.includes(text)) {
      return value as { msg: string; code?: string };
    }
  }
}

function client(port: number, username: string, password: string): Redis {
  const one = new Redis(port, '127.0.0.1', { username, password, retryStrategy: () => null });
  one.on('error', () => undefined);
  clients.push(one);
  return one;
}

it('SIGHUP replaces the users of a store alone, and a wrong file changes nothing', async () => {
  writeAccounts(['kept', 'one'], ['gone', 'two']);
  const port = await freePort();
  const lines = await start(port);
  const kept = client(port, 'kept', 'one');
  const gone = client(port, 'gone', 'two');
  expect(await kept.set('k', 'v')).toBe('OK');
  expect(await gone.get('k')).toBe('v');
  const closed = once(gone, 'end');

  writeAccounts(['kept', 'one'], ['new', 'three']);
  running?.kill('SIGHUP');
  await until(lines, 'were read again');
  await closed;
  expect(await kept.get('k')).toBe('v');
  expect(await client(port, 'new', 'three').get('k')).toBe('v');
  await expect(client(port, 'gone', 'two').get('k')).rejects.toThrow();

  writeFileSync(accountsFile(), '- name: kept\n  role: king\n  hashes: []\n');
  running?.kill('SIGHUP');
  const refused = await until(lines, 'stays as it was');
  expect(refused.code).toBe('PBX_CONFIG_INVALID');
  expect(await client(port, 'new', 'three').get('k')).toBe('v');
});
