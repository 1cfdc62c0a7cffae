import { expect, test } from 'vitest';
import {
  insisting,
  isBehindTls,
  keysOf,
  plainProfile,
  profileOf,
  withoutKeys,
} from '../../../src/call-manager/calls/encryption.ts';

const key = 'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj';
const offer = (profile: string, ...lines: string[]) =>
  ['v=0', 'c=IN IP4 10.0.0.1', `m=audio 4000 ${profile} 0`, ...lines, ''].join('\r\n');

test('the transport is that of the first line with RTP', () => {
  expect(profileOf(offer('RTP/AVP'))).toBe('RTP/AVP');
  expect(profileOf('m=image 4000 udptl t38\r\nm=video 5000 RTP/SAVPF 96\r\n')).toBe('RTP/SAVPF');
  expect(profileOf('m=image 4000 udptl t38\r\n')).toBeNull();
  expect(plainProfile('RTP/SAVPF')).toBe('RTP/AVPF');
  expect(plainProfile('UDP/TLS/RTP/SAVPF')).toBeNull();
  expect(plainProfile(null)).toBeNull();
});

test('keys are taken out for devices that get none, and nothing else is', () => {
  const text = offer('RTP/AVP', key, 'a=sendrecv', key.replace(':1', ':2'));
  expect(keysOf(text)).toHaveLength(2);
  expect(withoutKeys(text)).toBe(offer('RTP/AVP', 'a=sendrecv'));
  expect(keysOf(offer('RTP/AVP'))).toEqual([]);
});

test('who refuses the offer beside plain RTP is offered encryption alone', () => {
  expect(insisting(offer('RTP/AVPF', key))).toBe(offer('RTP/SAVPF', key));
  expect(insisting(offer('RTP/AVP'))).toBeNull();
  expect(insisting(offer('RTP/SAVP', key))).toBeNull();
});

test.each([
  ['sips:1001@10.0.0.1', true],
  ['sip:1001@10.0.0.1:5061;transport=TLS', true],
  ['sip:1001@10.0.0.1;transport=tls;ob', true],
  ['sip:1001@10.0.0.1;transport=tcp', false],
  ['sip:tls@10.0.0.1', false],
])('%s is behind TLS: %s', (uri, expected) => {
  expect(isBehindTls(uri)).toBe(expected);
});
