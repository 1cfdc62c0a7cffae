import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { connectStore } from '../../../src/cluster/store-client.ts';
import { silentLog } from '../../../src/domain/log.ts';

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) {
    close();
  }
});

/** A store that says OK to everything, or takes commands and says nothing. */
async function listen(answers: boolean): Promise<{ host: string; commands: string[] }> {
  const sockets = new Set<Socket>();
  const commands: string[] = [];
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      const names = [...bytes.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)];
      commands.push(...names.map((match) => String(match[1]).toUpperCase()));
      if (answers) {
        socket.write('+OK\r\n'.repeat(names.length));
      }
    });
  });
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
