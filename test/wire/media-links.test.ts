import { expect, onTestFinished, test } from 'vitest';
import { MediaLinks } from '../../src/call-manager/media-links.ts';
import { silentLog } from '../../src/domain/log.ts';
import type { Lease } from '../../src/domain/server.ts';
import { MediaEngine } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { mediaOptions } from '../support/media-options.ts';

function engineAt(ngTcpListen: string, portFrom: number): MediaEngine {
  const engine = MediaEngine.start(
    mediaOptions('127.0.0.1', {
      ...{ ngTcpListen, portFrom, portTo: portFrom + 19 },
      floating: { interface: null, addresses: ['127.0.0.50'], group: ['127.0.0.50'] },
    }),
    () => undefined,
  );
  onTestFinished(() => engine.close());
  return engine;
}

function leaseAt(ngTcp: string): Lease {
  const server = { name: 'media-1', roles: ['media'], address: '127.0.0.1', life: 'a', ngTcp };
  return { ...server, load: 0, capacity: 1, version: '' };
}

test('commands reach a media server, and its death is seen at once', async () => {
  const place = `127.0.0.1:${await freePort()}`;
  const engine = engineAt(place, 36_000);
  const died: string[] = [];
  const links = new MediaLinks({
    servers: () => [leaseAt(place)],
    died: ({ name, life }) => died.push(`${name}/${life}`),
    log: silentLog,
  });
  onTestFinished(() => links.close());
  links.tick();
  await eventually('a connection', 5000, () =>
    links.request('media-1', 'activate', { address: '127.0.0.50' }).then(
      () => true,
      () => false,
    ),
  );
  expect(engine.held()).toEqual([{ address: '127.0.0.50', calls: 0 }]);
  const unknown = links.request('media-1', 'snapshot', { 'call-id': 'nobody' });
  await expect(unknown).rejects.toThrow('Unknown call-id');

  engine.close();
  await eventually('its end to be seen', 5000, async () => died.length > 0);
  expect(died).toEqual(['media-1/a']);
  await expect(links.request('media-1', 'ping', {})).rejects.toThrow();
});

test('a connection that ends while somebody listens is no death', async () => {
  const place = `127.0.0.1:${await freePort()}`;
  const first = engineAt(place, 36_020);
  const died: string[] = [];
  const links = new MediaLinks({
    servers: () => [leaseAt(place)],
    died: ({ name }) => died.push(name),
    log: silentLog,
  });
  onTestFinished(() => links.close());
  const answers = () =>
    links.request('media-1', 'statistics', {}).then(
      () => true,
      () => false,
    );
  links.tick();
  await eventually('a connection', 5000, answers);
  first.close();
  engineAt(place, 36_020);
  await eventually('another connection', 5000, async () => {
    links.tick();
    return await answers();
  });
  expect(died).toEqual([]);
});
