import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { projectRoot } from '../support/source.ts';

interface Line {
  level: string;
  msg: string;
  code?: string;
  fix?: string;
}

let directory = '';
let running: ChildProcess | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'raftpbx-start-'));
  mkdirSync(join(directory, 'secrets'));
  for (const name of ['cluster', 'store']) {
    writeFileSync(join(directory, 'secrets', name), 'not a real secret\n', { mode: 0o600 });
  }
});
afterEach(async () => {
  if (running !== undefined && running.exitCode === null) {
    running.kill('SIGKILL');
    await once(running, 'exit');
  }
  rmSync(directory, { recursive: true });
});

/** A media server whose store is not there. */
async function writeConfig(metricsPort: number): Promise<string> {
  const file = join(directory, 'node.yaml');
  const nobody = await freePort();
  const text = `name: media-9
roles: [media]
address: 127.0.0.1
directory: state
cluster:
  peers: [{ id: 1, name: cm-1, address: 127.0.0.1 }]
  secretFile: secrets/cluster
  certificates: { authority: a.pem, certificate: c.pem, key: k.pem }
store: { passwordFile: secrets/store, respPort: ${nobody} }
media:
  interfaces: [{ local: 127.0.0.1 }]
  ngListen: 127.0.0.1:${await freePort()}
  ports: 31000-31099
metrics: { listen: "127.0.0.1:${metricsPort}" }
`;
  writeFileSync(file, text);
  return file;
}

function start(config: string): { lines: Line[]; ended: Promise<number> } {
  const child = spawn(join(projectRoot, 'bin/raftpbx'), ['start', '--config', config]);
  running = child;
  const lines: Line[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts.map((line) => JSON.parse(line) as Line));
  });
  return { lines, ended: once(child, 'close').then(([code]) => code as number) };
}

it('a server says what is wrong in healthz, and ends with 0 after SIGTERM', async () => {
  const port = await freePort();
  const { lines, ended } = start(await writeConfig(port));
  await eventually('the start', 10_000, () => lines.some((one) => one.msg === 'server started'));
  const health = await fetch(`http://127.0.0.1:${port}/healthz`);
  expect(health.status).toBe(503);
  const report = (await health.json()) as { failing: Record<string, string> };
  expect(Object.keys(report.failing)).toEqual(['media']);
  running?.kill('SIGTERM');
  expect(await ended).toBe(0);
  expect(lines.at(-1)?.msg).toBe('server stopped');
});

it('a server whose port is taken ends with 1 and one fatal line with code and fix', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const { lines, ended } = start(await writeConfig(port));
  expect(await ended).toBe(1);
  taken.close();
  expect(lines.filter((one) => one.level === 'fatal')).toHaveLength(1);
  expect(lines.at(-1)).toMatchObject({ code: 'EADDRINUSE', fix: expect.stringContaining('stop') });
});

it('a secret that others can read is refused with status 2', async () => {
  const config = await writeConfig(await freePort());
  rmSync(join(directory, 'secrets', 'store'));
  writeFileSync(join(directory, 'secrets', 'store'), 'open\n', { mode: 0o644 });
  const { lines, ended } = start(config);
  expect(await ended).toBe(2);
  expect(lines.at(-1)).toMatchObject({ level: 'fatal', code: 'PBX_SECRET_UNSAFE' });
  expect(JSON.stringify(lines)).not.toContain('open');
});
