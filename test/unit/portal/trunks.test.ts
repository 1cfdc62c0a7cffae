import fastify from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { beforeEach, expect, test } from 'vitest';
import type { CallManagerApi } from '../../../src/call-manager/api.ts';
import { TrunkAdmin } from '../../../src/call-manager/trunks/admin.ts';
import { TrunkBook } from '../../../src/call-manager/trunks/book.ts';
import { limits } from '../../../src/domain/limits.ts';
import { sealingKey } from '../../../src/domain/sealing.ts';
import { toApiError } from '../../../src/portal/api/errors.ts';
import { addTrunks } from '../../../src/portal/api/trunks.ts';
import { MemoryStore } from '../call-manager/fakes.ts';

let memory: MemoryStore;
let book: TrunkBook;
let api: ReturnType<typeof build>;

function build(trunks: TrunkAdmin) {
  const server = fastify();
  server.setValidatorCompiler(validatorCompiler);
  server.setSerializerCompiler(serializerCompiler);
  server.setErrorHandler((error, _request, reply) => {
    const { status, view } = toApiError(error);
    reply.status(status).send(view);
  });
  addTrunks(server, { trunks } as unknown as CallManagerApi);
  return server;
}

beforeEach(() => {
  memory = new MemoryStore();
  const key = sealingKey('cluster');
  book = new TrunkBook(memory.store, key);
  api = build(new TrunkAdmin({ store: memory.store, book, key, isAsked: false, now: () => 1000 }));
});

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

async function ask(method: Method, path: string, payload?: object) {
  const url = `/api/v1/${path}`;
  const answer = await api.inject({ method, url, ...(payload ? { payload } : {}) });
  return { status: answer.statusCode, body: answer.json() };
}

const carrier = { name: 'carrier', proxy: '192.0.2.1', user: 'acme', password: 'secret-of-acme' };

test('a trunk is added, shown without its password, disabled and removed', async () => {
  expect(await ask('POST', 'trunks', carrier)).toMatchObject({ status: 201 });
  const trunk = book.trunk('carrier');
  expect(trunk && book.credentials(trunk)).toEqual({ user: 'acme', password: 'secret-of-acme' });
  const { body } = await ask('GET', 'trunks');
  expect(body).toMatchObject({
    items: [{ name: 'carrier', mode: 'register', state: 'trying', networks: ['192.0.2.1'] }],
    next: null,
  });
  expect(JSON.stringify(body)).not.toContain('secret-of-acme');
  expect(memory.keys.get('sip:peer:carrier')).toBe('{"networks":["192.0.2.1"]}');

  expect((await ask('PATCH', 'trunks/carrier', { enabled: false })).status).toBe(200);
  expect((await ask('GET', 'trunks')).body.items).toMatchObject([{ state: 'disabled' }]);
  expect(memory.keys.has('sip:peer:carrier')).toBe(false);
  await ask('PATCH', 'trunks/carrier', { enabled: true });
  expect(memory.keys.has('sip:peer:carrier')).toBe(true);
  expect((await ask('DELETE', 'trunks/carrier')).status).toBe(200);
  expect(memory.keys.has('sip:peer:carrier')).toBe(false);
  expect((await ask('GET', 'trunks')).body.items).toEqual([]);
});

test.each<[Method, string, object | undefined, number, string]>([
  ['POST', 'trunks', carrier, 409, 'PBX_TRUNK_EXISTS'],
  ['POST', 'trunks', { name: 'b', proxy: 'b.test' }, 400, 'PBX_TRUNK_INVALID'],
  ['POST', 'trunks', { ...carrier, name: 'B' }, 400, 'PBX_API_INVALID'],
  ['PATCH', 'trunks/gone', { enabled: true }, 404, 'PBX_TRUNK_UNKNOWN'],
  ['DELETE', 'trunks/gone', undefined, 404, 'PBX_TRUNK_UNKNOWN'],
  ['POST', 'outbound-routes', { pattern: '0.', trunks: ['gone'] }, 404, 'PBX_TRUNK_UNKNOWN'],
  ['POST', 'outbound-routes', { pattern: '0.0', trunks: ['carrier'] }, 400, 'PBX_ROUTE_INVALID'],
  ['POST', 'inbound-routes', { pattern: '5.', to: 'a b' }, 400, 'PBX_ROUTE_INVALID'],
  ['DELETE', 'outbound-routes?pattern=9.', undefined, 404, 'PBX_ROUTE_UNKNOWN'],
])('%s %s is refused when it must be', async (method, path, payload, status, code) => {
  await ask('POST', 'trunks', carrier);
  expect(await ask(method, path, payload)).toMatchObject({ status, body: { code } });
});

test('one trunk too many is refused', async () => {
  for (let i = 0; i < limits.trunksMax; i += 1) {
    await ask('POST', 'trunks', { ...carrier, name: `t${i}` });
  }
  const refused = await ask('POST', 'trunks', carrier);
  expect(refused).toMatchObject({ status: 409, body: { code: 'PBX_TRUNK_LIMIT' } });
});

test('routes are listed, replaced and removed by their pattern', async () => {
  await ask('POST', 'trunks', carrier);
  await ask('POST', 'outbound-routes', { pattern: '0.', strip: 1, trunks: ['carrier'] });
  await ask('POST', 'outbound-routes', { pattern: '0.', prepend: '+', trunks: ['carrier'] });
  await ask('POST', 'inbound-routes', { pattern: '5550XX', to: '1002' });
  await ask('POST', 'inbound-routes', { pattern: '5550XX', trunk: 'carrier', strip: 4 });
  expect((await ask('GET', 'outbound-routes')).body.items).toEqual([
    { pattern: '0.', strip: 0, prepend: '+', trunks: ['carrier'] },
  ]);
  expect((await ask('GET', 'inbound-routes')).body.items).toEqual([
    { pattern: '5550XX', trunk: '', to: '1002', strip: 0, prepend: '' },
    { pattern: '5550XX', trunk: 'carrier', to: '', strip: 4, prepend: '' },
  ]);
  expect((await ask('DELETE', 'outbound-routes?pattern=0.')).status).toBe(200);
  const path = 'inbound-routes?pattern=5550XX&trunk=carrier';
  expect((await ask('DELETE', path)).status).toBe(200);
  expect((await ask('GET', 'inbound-routes')).body.items).toHaveLength(1);
});
