import { expect, test } from 'vitest';
import { answerTo, type Challenge, challengeOf } from '../../../src/sip/digest.ts';

const head = 'SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n';

test('the answers are those of RFC 7616 section 3.9.1', () => {
  const challenge: Challenge = {
    answerHeader: 'Authorization',
    realm: 'http-auth@example.org',
    nonce: '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v',
    algorithm: 'MD5',
    qop: true,
    opaque: 'FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS',
    stale: false,
  };
  const credentials = { user: 'Mufasa', password: 'Circle of Life' };
  const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
  const request = { method: 'GET', uri: '/dir/index.html', cnonce, count: 1 };
  expect(answerTo(challenge, credentials, request)).toContain(
    'response="8ca523f5e9506fed4657c9700eebdbec"',
  );
  expect(answerTo({ ...challenge, algorithm: 'SHA-256' }, credentials, request)).toContain(
    'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"',
  );
});

test('the old form without qop is answered as RFC 2617 section 3.2.2 says', () => {
  const challenge = challengeOf(`${head}WWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n`);
  expect(challenge).toMatchObject({ algorithm: 'MD5', qop: false, opaque: null });
  const request = { method: 'REGISTER', uri: 'sip:r', cnonce: 'c', count: 1 };
  const answer = answerTo(challenge as Challenge, { user: 'u', password: 'p' }, request);
  expect(answer).not.toContain('qop');
  expect(answer).not.toContain('cnonce');
});

test('of several challenges the strongest that we know is taken', () => {
  const several =
    `${head}WWW-Authenticate: Digest realm="a, b", nonce="1", algorithm=SHA-512-256\r\n` +
    'Www-authenticate: DIGEST realm="a", nonce="2", algorithm=MD5, qop="auth,auth-int"\r\n' +
    'WWW-Authenticate: Digest realm="a",\r\n nonce="3", algorithm=SHA-256, qop="auth", ' +
    'opaque="o", stale=TRUE\r\n\r\n';
  expect(challengeOf(several)).toEqual({
    ...{ answerHeader: 'Authorization', realm: 'a', nonce: '3', algorithm: 'SHA-256' },
    ...{ qop: true, opaque: 'o', stale: true },
  });
});

test.each([
  'Proxy-Authenticate: Digest realm="r"',
  'Proxy-Authenticate: Basic realm="r"',
  'Proxy-Authenticate: Digest realm="r", nonce="n", qop="auth-int"',
  'Subject: Digest realm="r", nonce="n"',
])("'%s' cannot be answered", (line) => {
  expect(challengeOf(`${head}${line}\r\n\r\n`)).toBeNull();
});

test('a proxy is answered in its own header', () => {
  const text = `${head}Proxy-Authenticate: Digest realm="r",nonce="n",qop=auth\r\n\r\n`;
  expect(challengeOf(text)).toMatchObject({ answerHeader: 'Proxy-Authorization', qop: true });
});
