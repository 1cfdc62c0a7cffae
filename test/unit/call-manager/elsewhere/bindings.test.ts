import { expect, test } from 'vitest';
import {
  contactHeader,
  type Rules,
  register,
  routeTo,
  type StoredBinding,
  type Wish,
} from '../../../../src/call-manager/elsewhere/bindings.ts';
import { contactsOf } from '../../../../src/call-manager/elsewhere/contacts.ts';

const rules: Rules = {
  ...{ minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600, maxBindings: 2 },
  whenFull: 'refuse',
};
const nowMs = 1_700_000_000_000;

function wish(contact: string, more: Partial<Wish> = {}): Wish {
  const contacts = contactsOf(contact, more.expiresS ?? null);
  if (contacts.type === 'bad') {
    throw new Error(`bad: ${contact}`);
  }
  return {
    ...{ user: '1001', contacts, expiresS: null, callId: 'one', cseq: 1, userAgent: null },
    ...{ received: 'udp/192.0.2.7:5062', local: 'udp/192.0.2.9:5060', path: [], nowMs, ...more },
  };
}

function after(...wishes: Wish[]): StoredBinding[] {
  return wishes.reduce<StoredBinding[]>((bindings, one) => {
    const outcome = register({ user: '1001', bindings }, one, rules);
    return 'bindings' in outcome ? outcome.bindings : bindings;
  }, []);
}

test('a binding says where its REGISTER came from, and how long it lasts', () => {
  const [binding] = after(wish('<sip:1001@10.0.0.5:5060>;q=0.5;expires=600'));
  expect(binding).toMatchObject({
    ...{ contact: 'sip:1001@10.0.0.5:5060', received: 'udp/192.0.2.7:5062', q: 0.5 },
    ...{ expiresAt: nowMs + 600_000, callId: 'one', cseq: 1, instance: null },
  });
  expect(contactHeader([binding as StoredBinding], nowMs + 500)).toBe(
    '<sip:1001@10.0.0.5:5060>;q=0.5;expires=600',
  );
});

test('an expiry is the one of the Contact, of the header, or the default, within the limits', () => {
  const expires = (contact: string, expiresS: number | null = null) => {
    const [binding] = after(wish(contact, { expiresS }));
    return ((binding?.expiresAt ?? 0) - nowMs) / 1000;
  };
  expect(expires('<sip:a@h>;expires=90', 600)).toBe(90);
  expect(expires('<sip:a@h>', 600)).toBe(600);
  expect(expires('<sip:a@h>')).toBe(3600);
  expect(expires('<sip:a@h>;expires=100000')).toBe(7200);
  expect(register(null, wish('<sip:a@h>;expires=59'), rules)).toEqual({ type: 'tooBrief' });
});

test('a device is known by its instance, else by its Contact', () => {
  const instance = '+sip.instance="<urn:uuid:1>"';
  const moved = after(
    wish(`<sip:a@h1>;${instance}`),
    wish(`<sip:a@h2>;${instance}`, { cseq: 2, nowMs: nowMs + 1000 }),
  );
  expect(moved.map((one) => one.contact)).toEqual(['sip:a@h2']);
  expect(moved[0]?.registeredAt).toBe(nowMs);
  expect(after(wish('<sip:a@h1>'), wish('<sip:a@h2>', { callId: 'two' }))).toHaveLength(2);
});

test('what was overtaken is refused, what is repeated changes nothing', () => {
  const bindings = after(wish('<sip:a@h>', { cseq: 5 }));
  const current = { user: '1001', bindings };
  expect(register(current, wish('<sip:a@h>', { cseq: 4 }), rules)).toMatchObject({ status: 500 });
  expect(register(current, wish('*', { cseq: 4, expiresS: 0 }), rules)).toMatchObject({
    status: 500,
  });
  expect(register(current, wish('<sip:a@h>', { cseq: 5 }), rules)).toMatchObject({ type: 'same' });
  expect(register(current, wish('', { cseq: 6 }), rules)).toEqual({ type: 'same', bindings });
});

test('bindings are removed one by one or all at once', () => {
  const two = [wish('<sip:a@h1>'), wish('<sip:a@h2>', { callId: 'two' })];
  const one = after(...two, wish('<sip:a@h1>;expires=0', { cseq: 2 }));
  expect(one.map(({ contact }) => contact)).toEqual(['sip:a@h2']);
  expect(after(...two, wish('*', { cseq: 3, expiresS: 0 }))).toEqual([]);
});

test('one binding too many is refused, or takes the place of the oldest', () => {
  const bindings = after(
    wish('<sip:a@h1>'),
    wish('<sip:a@h2>', { callId: 'two', nowMs: nowMs + 1 }),
  );
  const third = wish('<sip:a@h3>', { callId: 'three', nowMs: nowMs + 2 });
  const current = { user: '1001', bindings };
  expect(register(current, third, rules)).toMatchObject({ status: 403 });
  const outcome = register(current, third, { ...rules, whenFull: 'replace-oldest' });
  expect('bindings' in outcome && outcome.bindings.map((one) => one.contact)).toEqual([
    'sip:a@h2',
    'sip:a@h3',
  ]);
});

test('what has expired is gone with the next change', () => {
  const bindings = after(wish('<sip:a@h1>;expires=60'));
  const later = wish('<sip:a@h2>', { callId: 'two', nowMs: nowMs + 61_000 });
  const outcome = register({ user: '1001', bindings }, later, rules);
  expect('bindings' in outcome && outcome.bindings.map((one) => one.contact)).toEqual(['sip:a@h2']);
});

test('a device is called where it was seen; over a connection the engine knows the way', () => {
  const path = ['<sip:edge.test;lr>'];
  expect(routeTo({ received: 'udp/192.0.2.7:5062' })).toBe('sip:192.0.2.7:5062;transport=udp');
  expect(routeTo({ received: 'udp/[fd00::1]:5062' })).toBe('sip:[fd00::1]:5062;transport=udp');
  expect(routeTo({ received: 'tls/192.0.2.7:50000' })).toBeNull();
  expect(routeTo({ received: 'udp/192.0.2.7:5062', path })).toBe('sip:edge.test;lr');
});

test.each([
  ['* beside another', '*, <sip:a@h>', 0],
  ['* with an expiry', '*', 60],
  ['no URI', '<mailto:a@h>', null],
  ['nonsense', '"', null],
  ['too many', Array.from({ length: 17 }, (_, i) => `<sip:a@h${i}>`).join(), null],
])('a bad Contact: %s', (_, header, expiresS) => {
  expect(contactsOf(header, expiresS).type).toMatch(header === '"' ? /query|bad/ : /bad/);
});

test('commas and semicolons in quotes and brackets part nothing', () => {
  const contacts = contactsOf(
    '"a, <b>; c" <sip:a;x=1,2@h;pn-provider=p;pn-prid=q>;q=0.3, sip:b@h;q=1',
    null,
  );
  expect(contacts.type === 'some' && contacts.wishes).toMatchObject([
    { q: 0.3, push: { provider: 'p', prid: 'q', param: null } },
    { uri: 'sip:b@h', q: 1, push: null },
  ]);
});
