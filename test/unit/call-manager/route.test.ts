import { expect, test } from 'vitest';
import { decideRoute } from '../../../src/call-manager/routing/route.ts';
import { limits } from '../../../src/domain/limits.ts';

const binding = (contact: string) => ({
  contact,
  received: '',
  expiresAt: 1,
  q: 1,
  userAgent: null,
  registeredAt: 0,
});

const breadth = limits.breadthMax;
const wide = { bindings: [binding('sip:a'), binding('sip:b')], breadth: 1 };

test('all devices of the called user ring', () => {
  const bindings = [binding('sip:a'), binding('sip:b')];
  const route = decideRoute({ from: '1', to: '2', known: true, bindings, outside: null, breadth });
  expect(route).toEqual({ kind: 'devices', uris: ['sip:a', 'sip:b'] });
});

test('no more devices ring than a call may have legs', () => {
  const bindings = Array.from({ length: 50 }, (_, i) => binding(`sip:${i}`));
  const route = decideRoute({ from: '1', to: '2', known: true, bindings, outside: null, breadth });
  expect(route.kind === 'devices' && route.uris.length).toBe(limits.legsMax);
});

test.each([
  ['an unknown user', { known: false }, 404],
  ['oneself', { to: '1', bindings: [binding('sip:a')] }, 482],
  ['a user without devices', {}, 480],
  ['a user with more devices than the call may have branches', wide, 440],
])('%s is not reached', (_name, more, status) => {
  const route = decideRoute({
    from: '1',
    to: '2',
    known: true,
    bindings: [],
    outside: null,
    breadth,
    ...more,
  });
  expect(route).toMatchObject({ kind: 'refuse', status });
});
