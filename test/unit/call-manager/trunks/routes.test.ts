import { expect, test } from 'vitest';
import { acceptInbound } from '../../../../src/call-manager/routing/inbound.ts';
import { planOutbound } from '../../../../src/call-manager/routing/outbound.ts';
import { createTrunk, type NewTrunk, networksOf } from '../../../../src/domain/trunk.ts';

function trunk(wanted: NewTrunk) {
  const made = createTrunk(wanted, 0);
  if (!made.ok) {
    throw made.error;
  }
  return made.value;
}

const first = trunk({ name: 'first', proxy: '192.0.2.1:5080', callerId: '5550100' });
const second = trunk({ name: 'second', proxy: '192.0.2.2', transport: 'tls', domain: 'b.test' });
const route = { pattern: '0.', strip: 1, prepend: '+49', trunks: ['first', 'gone', 'second'] };

function plan(more: Partial<Parameters<typeof planOutbound>[0]> = {}) {
  return planOutbound({
    ...{ number: '030', routes: [route], trunks: [first, second] },
    used: () => 0,
    isFailing: () => false,
    ...more,
  });
}

test('a number goes out over the trunks of its route, rewritten, in their order', () => {
  expect(plan()).toEqual({
    kind: 'trunks',
    targets: [
      { trunk: 'first', uri: 'sip:+4930@192.0.2.1:5080' },
      { trunk: 'second', uri: 'sip:+4930@b.test;transport=tls' },
    ],
  });
  expect(plan({ number: '130' })).toBeNull();
});

test('a trunk that fails is tried after the others, a disabled or full one not at all', () => {
  const names = (route: ReturnType<typeof plan>) =>
    route?.kind === 'trunks' ? route.targets.map((one) => one.trunk) : route;
  expect(names(plan({ isFailing: (name) => name === 'first' }))).toEqual(['second', 'first']);
  expect(names(plan({ trunks: [{ ...first, enabled: false }, second] }))).toEqual(['second']);
  const used = (name: string) => (name === 'first' ? first.channelsMax : 0);
  expect(names(plan({ used }))).toEqual(['second']);
  expect(plan({ used: () => 30 })).toMatchObject({ code: 'PBX_TRUNK_FULL', status: 503 });
  expect(plan({ trunks: [] })).toMatchObject({ code: 'PBX_TRUNK_NONE', status: 503 });
});

const account = trunk({ name: 'account', proxy: 'sip.a.test', user: 'acme@a.test', password: 'x' });
const known = [
  { trunk: account, networks: networksOf(account, '192.0.2.1') },
  { trunk: first, networks: networksOf(first, null) },
];
const inbound = [
  { pattern: '5550.', trunk: '', to: '', strip: 4, prepend: '1' },
  { pattern: '555010', trunk: 'account', to: 'desk', strip: 0, prepend: '' },
];

function accept(source: string, requestUser: string, toUser: string) {
  const answer = acceptInbound({ source, requestUser, toUser, trunks: known, routes: inbound });
  return answer.ok
    ? { trunk: answer.value.trunk.name, to: answer.value.to }
    : { code: answer.error.code };
}

test('a call is of the trunk whose account it calls, else of the first with a route', () => {
  expect(accept('192.0.2.1', 'acme', '555010')).toEqual({ trunk: 'account', to: 'desk' });
  expect(accept('::ffff:192.0.2.1', '555010', 'x')).toEqual({ trunk: 'account', to: 'desk' });
  expect(accept('192.0.2.1', '555002', 'x')).toEqual({ trunk: 'account', to: '102' });
});

test('what no route is for goes nowhere, and a stranger is no trunk', () => {
  expect(accept('192.0.2.1', '1002', '1002')).toEqual({ code: 'PBX_ROUTE_NONE' });
  expect(accept('192.0.2.9', '555010', '555010')).toEqual({ code: 'PBX_CALLER_UNKNOWN' });
  expect(accept('', '555010', '555010')).toEqual({ code: 'PBX_CALLER_UNKNOWN' });
});

test.each<[string, Partial<NewTrunk>]>([
  ['without a proxy', { proxy: '' }],
  ['with a port that is none', { proxy: 'a.test:70000' }],
  ['with another header in its proxy', { proxy: 'a.test\r\nX: y' }],
  ['that registers without a password', { user: 'acme' }],
  ['that is a peer with a host name and no networks', { proxy: 'a.test' }],
  ['with a network that is none', { sources: ['192.0.2.0/33'] }],
  ['with no channel', { channelsMax: 0 }],
  ['with a caller ID that is no number', { callerId: '"><sip:x' }],
])('a trunk %s is refused', (_how, more) => {
  const made = createTrunk({ name: 'a', proxy: '192.0.2.1', ...more }, 0);
  expect(made.ok ? null : made.error.code).toBe('PBX_TRUNK_INVALID');
});
