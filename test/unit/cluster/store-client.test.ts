import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { connectStore } from '../../../src/cluster/store-client.ts';
import { silentLog } from '../../../src/domain/log.ts';
import { createAuthority, issueCertificate } from '../../../src/native/index.ts';

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) {
    close();
  }
});

type Authority = ReturnType<typeof createAuthority>;

/**
 * A store that says OK to everything, or takes commands and says nothing; with an authority it
 * speaks TLS and shows a certificate of it.
 */
async function listen(
  answers: boolean,
  authority?: Authority,
): Promise<{ host: string; commands: string[] }> {
  const sockets = new Set<Socket>();
  const commands: string[] = [];
  const answer = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      const names = [...bytes.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)];
      commands.push(...names.map((match) => String(match[1]).toUpperCase()));
      if (answers) {
        socket.write('+OK\r\n'.repeat(names.length));
      }
    });
  };
  const server: Server =
    authority === undefined ? createServer(answer) : createTlsServer(shown(authority), answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return { host: `127.0.0.1:${port}`, commands };
}

function shown(authority: Authority): { cert: string; key: string } {
  const { certificate, key } = issueCertificate(authority, 'store', ['127.0.0.1'], []);
  return { cert: certificate, key };
}

function client(hosts: string[]) {
  const redis = connectStore({ hosts, username: 'u', password: 'p', log: silentLog });
  closers.push(() => redis.disconnect());
  return redis;
}

test('a host that refuses connections is followed by the next', async () => {
  const { host, commands } = await listen(true);
  expect(await client(['127.0.0.1:1', host]).call('SET', 'a', '1')).toBe('OK');
  expect(commands).toContain('SET');
});

test('a host that falls silent is left for the next before a command is given up', async () => {
  const silent = await listen(false);
  const { host } = await listen(true);
  expect(await client([silent.host, host]).call('SET', 'a', '1')).toBe('OK');
});

test('without any host a command fails instead of waiting for ever', async () => {
  await expect(client(['127.0.0.1:1']).call('SET', 'a', '1')).rejects.toThrow();
});

test('an authority that is changed in its file is trusted from the next connection on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'store-client-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'authority.pem');
  const [before, after] = [createAuthority(), createAuthority()];
  writeFileSync(file, before.certificate);
  const { host, commands } = await listen(true, after);
  const redis = connectStore({ hosts: [host], password: 'p', authority: file, log: silentLog });
  closers.push(() => redis.disconnect());
  await expect(redis.call('SET', 'a', '1')).rejects.toThrow();
  expect(commands).toEqual([]);
  rmSync(file);
  await expect(redis.call('SET', 'a', '1')).rejects.toThrow();
  writeFileSync(file, after.certificate);
  await expect.poll(() => redis.status, { timeout: 10_000 }).toBe('ready');
  expect(await redis.call('SET', 'a', '1')).toBe('OK');
});
