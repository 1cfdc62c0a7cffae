import { expect, test } from 'vitest';
import {
  asOffer,
  insisting,
  isBehindTls,
  isBehindWebSocket,
  isBrowsers,
  keysOf,
  offerFor,
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
  expect(plainProfile('UDP/TLS/RTP/SAVPF')).toBe('RTP/AVP');
  expect(plainProfile('udptl')).toBeNull();
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

const browserLines = [
  'a=rtcp-mux',
  'a=setup:actpass',
  'a=fingerprint:sha-256 AB:CD',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:abcdefghijklmnopqrstuv',
  'a=candidate:1 1 UDP 2130706431 10.0.0.1 4000 typ host',
  'a=end-of-candidates',
];

test('of one offer each device gets the part that it understands', () => {
  const all = offer('RTP/AVP', 'a=ice-lite', 'a=sendrecv', key, ...browserLines);
  expect(offerFor('sip:1@10.0.0.1', all)).toBe(offer('RTP/AVP', 'a=sendrecv'));
  expect(offerFor('sips:1@10.0.0.1', all)).toBe(offer('RTP/AVP', 'a=sendrecv', key));
  const browser = offer('UDP/TLS/RTP/SAVPF', 'a=ice-lite', 'a=sendrecv', ...browserLines);
  expect(offerFor('sip:1@x.invalid;transport=ws', all)).toBe(browser);
  expect(isBrowsers(browser)).toBe(true);
  expect(isBrowsers(all)).toBe(false);
});

test('what was an answer leaves the beginning to the other one as an offer', () => {
  const answer = offer('UDP/TLS/RTP/SAVPF', 'a=setup:passive', 'a=mid:0');
  expect(asOffer(answer)).toBe(offer('UDP/TLS/RTP/SAVPF', 'a=setup:actpass', 'a=mid:0'));
});

test.each([
  ['sip:1@x.invalid;transport=ws', true],
  ['sip:1@x.invalid;transport=WSS;ob', true],
  ['sip:1@10.0.0.1;transport=tcp', false],
  ['sip:ws@10.0.0.1', false],
])('%s is behind a WebSocket: %s', (uri, expected) => {
  expect(isBehindWebSocket(uri)).toBe(expected);
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
