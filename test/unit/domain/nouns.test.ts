import { expect, test } from 'vitest';
import { parseCallId, parseCallRecord, parseLegKey } from '../../../src/domain/call.ts';
import { resultOfStatus, statusOfResult, viewCdr } from '../../../src/domain/cdr.ts';
import { errorTable, PbxError } from '../../../src/domain/errors.ts';
import { parseRegistration, reachable } from '../../../src/domain/registration.ts';
import { createUser, digestCredentials } from '../../../src/domain/user.ts';
import { sendableStatus } from '../../../src/sip/status.ts';

test('the digests are those of RFC 7616 section 3.9.1', () => {
  // HA1 of the example of that section, by both algorithms.
  const { ha1Md5, ha1Sha256 } = digestCredentials(
    'Mufasa',
    'http-auth@example.org',
    'Circle of Life',
  );
  expect(ha1Md5).toBe('3d78807defe7de2157e2b0b6573a855f');
  expect(ha1Sha256).toBe('7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232');
});

test.each(['', 'a b', 'a@b', 'a'.repeat(65), 'a:b', 'a"b', 'ä'])("'%s' is no user name", (name) => {
  const user = createUser({ name, password: 'x' }, 'realm', 0);
  expect(user.ok ? null : user.error.code).toBe('PBX_USER_NAME_INVALID');
});

test('a display name cannot break out of its header', () => {
  const user = createUser(
    { name: '1001', password: 'x', displayName: 'Ada "<sip:x>\r\nVia: y' },
    'realm',
    0,
  );
  expect(user.ok && user.value.displayName).toBe('Ada <sip:x>Via: y');
});

test('a CDR shows its times in ISO 8601 UTC', () => {
  const view = viewCdr({
    id: 'c',
    from_user: '1001',
    to_user: '1002',
    started_at: 0,
    answered_at: null,
    ended_at: 1500,
    result: 'no-answer',
    ended_by: 'system',
    from_trunk: null,
    to_trunk: 'carrier',
  });
  expect(view).toEqual({
    id: 'c',
    from: '1001',
    to: '1002',
    startedAt: '1970-01-01T00:00:00.000Z',
    answeredAt: null,
    endedAt: '1970-01-01T00:00:01.500Z',
    result: 'no-answer',
    endedBy: 'system',
    fromTrunk: null,
    toTrunk: 'carrier',
  });
});

test.each([486, 480, 487, 500])('a repeated INVITE is told %i again', (status) => {
  expect(statusOfResult(resultOfStatus(status))).toBe(status);
});

test('bindings that have expired are not rung, preferred ones come first', () => {
  const binding = (contact: string, expiresAt: number, q: number) => ({
    contact,
    expiresAt,
    q,
    received: 'udp/10.0.0.1:5060',
    userAgent: null,
    registeredAt: 0,
  });
  const registration = parseRegistration(
    JSON.stringify({
      user: '1001',
      bindings: [binding('sip:a', 50, 1), binding('sip:b', 200, 0.5), binding('sip:c', 200, 1)],
    }),
  );
  expect(registration).not.toBeNull();
  const contacts = registration === null ? [] : reachable(registration, 100);
  expect(contacts.map(({ contact }) => contact)).toEqual(['sip:c', 'sip:b']);
});

test('of the flows of a device the newest is rung, other devices all', () => {
  const flow = (contact: string, instance: string, regId: number, refreshedAt: number) => ({
    contact,
    instance,
    regId,
    refreshedAt,
    expiresAt: 200,
    q: 1,
    received: 'tcp/10.0.0.1:5060',
    userAgent: null,
    registeredAt: 0,
  });
  const bindings = [
    flow('sip:a1', '<urn:a>', 1, 10),
    flow('sip:a2', '<urn:a>', 2, 20),
    flow('sip:b1', '<urn:b>', 1, 30),
    flow('sip:b2', '<urn:b>', 2, 30),
  ];
  const contacts = reachable({ user: '1001', bindings }, 100).map(({ contact }) => contact);
  expect(contacts).toEqual(['sip:a2', 'sip:b1']);
});

test.each(['', '{', '[]', 'null', '{"user":1,"bindings":[]}'])(
  "'%s' is no registration",
  (text) => {
    expect(parseRegistration(text)).toBeNull();
  },
);

test('keys of legs are read back, anything else is not', () => {
  expect(parseLegKey('call-1/2')).toEqual({ id: 'call-1', no: 2 });
  for (const text of ['', 'call-1', 'call-1/', 'a/b/1', '/1', 'a b/1', 'x/-1']) {
    expect(parseLegKey(text)).toBeNull();
  }
});

test('ids and records that are not ours are refused', () => {
  expect(parseCallId('a/b')).toBeNull();
  expect(parseCallId('x'.repeat(65))).toBeNull();
  expect(parseCallRecord('{"version":2}')).toBeNull();
  expect(parseCallRecord('nonsense')).toBeNull();
});

test('every error says what to do', () => {
  for (const [code, entry] of Object.entries(errorTable)) {
    expect(code).toMatch(/^PBX_[A-Z_]+$/);
    expect(entry.fix.length).toBeGreaterThan(10);
    expect(entry.sipStatus).toBeGreaterThanOrEqual(400);
    expect(entry.httpStatus).toBeGreaterThanOrEqual(400);
  }
  expect(new PbxError('PBX_USER_UNKNOWN', "'x'").message).toBe(
    "there is no user of that name: 'x'",
  );
});

test.each([
  [486, 486],
  [199, 199],
  [155, 183],
  [499, 400],
  [699, 600],
  [799, 500],
  [0, 500],
])('status %i of a device is sent on as %i', (received, sent) => {
  expect(sendableStatus(received)).toBe(sent);
});
