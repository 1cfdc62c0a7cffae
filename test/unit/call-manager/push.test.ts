import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Push, type PushMessage } from '../../../src/call-manager/push.ts';
import { silentLog } from '../../../src/domain/log.ts';
import type { Binding } from '../../../src/domain/registration.ts';

let service: Server;
let asked: PushMessage[];
let status: number;
/** What the device does when it is woken. */
let onWake: () => void;

beforeEach(async () => {
  asked = [];
  status = 200;
  onWake = () => undefined;
  service = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      asked.push(JSON.parse(body) as PushMessage);
      response.writeHead(status).end();
      onWake();
    });
  });
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
});

afterEach(() => service.close());

const asleep: Binding = {
  contact: 'sip:1001@192.0.2.1;pn-provider=fcm;pn-prid=token',
  received: 'udp/192.0.2.1:5060',
  expiresAt: Number.MAX_SAFE_INTEGER,
  q: 1,
  userAgent: null,
  registeredAt: 0,
  refreshedAt: 0,
  push: { provider: 'fcm', prid: 'token', param: null },
};

function pushTo(devices: () => Binding[], waitMs = 5_000): Push {
  const { port } = service.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/wake`;
  return new Push({ url, waitMs, log: silentLog, now: Date.now, devices });
}

test('a device that sleeps is woken, and the call goes on when it has registered', async () => {
  let devices = [asleep];
  onWake = () => {
    devices = [{ ...asleep, refreshedAt: Date.now() + 1 }];
  };
  const push = pushTo(() => devices);
  expect(push.needs(devices)).toBe(true);
  await push.wake('1001', '1002', 'call-1');
  const message = { user: '1001', from: '1002', call: 'call-1', ...asleep.push };
  expect(asked).toEqual([message]);
  expect(push.counts).toMatchObject({ asked: 1, woken: 1, missed: 0 });
});

test('a call does not wait for ever for a device that stays asleep', async () => {
  status = 503;
  const push = pushTo(() => [asleep], 100);
  await push.wake('1001', '1002', 'call-1');
  expect(push.counts).toMatchObject({ asked: 1, refused: 1, missed: 1 });
});

test('without a push service nobody waits', () => {
  const devices = () => [asleep];
  const push = new Push({ url: null, waitMs: 1, log: silentLog, now: Date.now, devices });
  expect(push.needs([asleep])).toBe(false);
  expect(pushTo(devices).needs([{ ...asleep, push: undefined } as unknown as Binding])).toBe(false);
});
