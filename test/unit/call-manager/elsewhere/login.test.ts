import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { verify } from '../../../../src/call-manager/elsewhere/credentials.ts';
import { Guard, networkOf } from '../../../../src/call-manager/elsewhere/guard.ts';
import { Homes } from '../../../../src/call-manager/elsewhere/homes.ts';
import { NonceCounts, Nonces } from '../../../../src/call-manager/elsewhere/nonces.ts';
import type { Ban } from '../../../../src/domain/ban.ts';
import { digestCredentials } from '../../../../src/domain/user.ts';
import { answer } from '../../../support/phone/digest.ts';

const nowMs = 1_700_000_000_000;
const realm = 'pbx.test';
const nonces = new Nonces('the secret of a cluster');
const { ha1Md5, ha1Sha256 } = digestCredentials('1001', realm, 'secret');

function check(value: string | undefined, at = nowMs) {
  return verify({
    ...{ value, method: 'REGISTER', realm, nowMs: at, nonces },
    digests: (user) => (user === '1001' ? { md5: ha1Md5, sha256: ha1Sha256 } : null),
  });
}

function proof(
  password: string,
  { user = '1001', algorithm = 'MD5' as 'MD5' | 'SHA-256', nonce = nonces.issue(nowMs) } = {},
): string {
  const challenge = `Digest realm="${realm}", nonce="${nonce}", algorithm=${algorithm}, qop="auth"`;
  return answer([challenge], { user, password, algorithm }, 'REGISTER', `sip:${realm}`);
}

test('a right password is taken with either algorithm, on any node', () => {
  const other = new Nonces('the secret of a cluster').issue(nowMs);
  for (const algorithm of ['MD5', 'SHA-256'] as const) {
    expect(check(proof('secret', { algorithm, nonce: other }))).toMatchObject({
      type: 'right',
      user: '1001',
      count: 1,
    });
  }
});

test('a wrong password and an unknown user look the same', () => {
  expect(check(proof('guess'))).toEqual({ type: 'wrong', user: '1001' });
  expect(check(proof('secret', { user: 'nobody' }))).toEqual({ type: 'wrong', user: 'nobody' });
});

test('an old nonce is stale, a foreign one is none', () => {
  const old = proof('secret');
  expect(check(old, nowMs + 301_000)).toEqual({ type: 'stale' });
  const foreign = new Nonces('another secret').issue(nowMs);
  expect(check(proof('secret', { nonce: foreign }))).toEqual({ type: 'stale' });
  expect(check(proof('guess', { nonce: foreign }))).toEqual({ type: 'missing' });
});

test('answers to other realms, cut ones and nonsense are no answers', () => {
  const elsewhere = proof('secret').replace(`realm="${realm}"`, 'realm="other"');
  for (const value of [undefined, '', 'Basic x', 'Digest', elsewhere, 'Digest '.repeat(2000)]) {
    expect(check(value)).toEqual({ type: 'missing' });
  }
  expect(check(`${elsewhere}, ${proof('secret')}`)).toMatchObject({ type: 'right' });
});

test('an answer without qop is taken as RFC 2069 has it', () => {
  const nonce = nonces.issue(nowMs);
  const md5 = (text: string) => createHash('md5').update(text).digest('hex');
  const response = md5(`${ha1Md5}:${nonce}:${md5(`REGISTER:sip:${realm}`)}`);
  const fields = [`username="1001"`, `realm="${realm}"`, `nonce="${nonce}"`, `uri="sip:${realm}"`];
  expect(check(`Digest ${[...fields, `response="${response}"`].join(',')}`)).toMatchObject({
    type: 'right',
  });
});

test('a count is good once, but for a repetition of the same request', () => {
  const counts = new NonceCounts();
  const issuedS = nowMs / 1000;
  const take = (count: number, request: string) =>
    counts.take('nonce', issuedS, { count, request }, nowMs);
  expect([take(1, 'a'), take(1, 'a'), take(1, 'b'), take(3, 'c'), take(2, 'd')]).toEqual([
    ...[true, true, false, true, false],
  ]);
});

function guard() {
  const bans = new Map<string, Ban>();
  const made = new Guard({
    read: ([, key]) => {
      const ban = bans.get(String(key));
      return ban === undefined ? null : JSON.stringify(ban);
    },
    store: (key, ban) => bans.set(key, ban),
  });
  return { bans, made };
}

const stranger = { address: '192.0.2.7', user: '1001', isHome: false, isOwn: false };

test('ten wrong passwords ban an address, each time for longer', () => {
  const { bans, made } = guard();
  let at = nowMs;
  for (const lengthMs of [60_000, 120_000]) {
    for (let count = 0; count < 10; count += 1) {
      made.wrong({ ...stranger, user: `user-${count}` }, at);
    }
    expect(bans.get('sip:ban:192.0.2.7')).toMatchObject({ since: at, until: at + lengthMs });
    expect(made.refuses({ ...stranger, user: 'any' }, at + 1)).toBe(true);
    at += lengthMs;
    expect(made.refuses({ ...stranger, user: 'any' }, at)).toBe(false);
  }
});

test('where devices are registered only the pair is banned', () => {
  const { bans, made } = guard();
  for (let count = 0; count < 10; count += 1) {
    made.wrong({ ...stranger, isHome: true }, nowMs);
  }
  expect([...bans.keys()]).toEqual(['sip:ban:192.0.2.7/1001']);
  expect(made.refuses({ ...stranger, isHome: true, user: '1002' }, nowMs + 1)).toBe(false);
});

test('strangers wait where many guess at one user; its own devices do not', () => {
  const { made } = guard();
  for (let count = 0; count < 6; count += 1) {
    made.wrong({ ...stranger, address: `192.0.2.${count}` }, nowMs);
  }
  expect(made.refuses(stranger, nowMs + 1000)).toBe(true);
  expect(made.refuses({ ...stranger, isOwn: true }, nowMs + 1000)).toBe(false);
  expect(made.refuses(stranger, nowMs + 31_000)).toBe(false);
});

test('an IPv6 network is one party, written as the engine writes it', () => {
  expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::');
  expect(networkOf('2001:db8::1')).toBe('2001:db8::');
  expect(networkOf('::ffff:192.0.2.7')).toBe('192.0.2.7');
  expect(networkOf('::1')).toBe('::');
});

test('homes follow what is registered', () => {
  const homes = new Homes();
  const value = (received: string) =>
    JSON.stringify({ user: '1001', bindings: [{ contact: 'sip:a@h', expiresAt: 1, received }] });
  const set = (text: string | null) =>
    homes.apply([{ type: 'changed', changes: [{ key: 'registration:1001', value: text }] }]);
  set(value('udp/192.0.2.7:5062'));
  expect([homes.has('192.0.2.7'), homes.isOf('1001', '192.0.2.7')]).toEqual([true, true]);
  set(value('tcp/[2001:db8::7]:5062'));
  expect([homes.has('192.0.2.7'), homes.has('2001:db8::8')]).toEqual([false, true]);
  set(null);
  expect(homes.has('2001:db8::7')).toBe(false);
});
