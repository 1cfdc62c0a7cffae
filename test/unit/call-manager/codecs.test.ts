import { expect, test } from 'vitest';
import {
  codecsOf,
  haveCommonCodec,
  offersFor,
  withoutAdded,
} from '../../../src/call-manager/calls/codecs.ts';

const key = 'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj';
const described = (formats: string, ...lines: string[]) =>
  ['v=0', 'c=IN IP4 10.0.0.1', `m=audio 4000 RTP/AVP ${formats}`, ...lines, ''].join('\r\n');

const opus = 'a=rtpmap:111 opus/48000/2';
const events = 'a=rtpmap:101 telephone-event/8000';
const caller = described('0 101', events, 'a=fmtp:101 0-15');
/** What a media server makes of it that was asked for Opus and G.722. */
const added = [opus, 'a=fmtp:111 useinbandfec=1', 'a=rtpmap:9 G722/8000'];
const wide = described('0 111 9 101', events, 'a=fmtp:101 0-15', ...added);

test('codecs are known by their map or by their number; what goes along with sound is none', () => {
  const sdp = described('111 0 63 18 101 13', opus, events, 'a=rtpmap:63 red/48000/2');
  expect([...codecsOf(sdp)]).toEqual(['opus/48000', 'pcmu/8000', 'g729/8000']);
  expect([...codecsOf('v=0\r\nm=video 4000 RTP/AVP 0\r\n')]).toEqual([]);
  expect([...codecsOf(sdp.replace('audio 4000', 'audio 0'))], 'a line that is off').toEqual([]);
});

test.each([
  ['the same numbers', described('0'), described('8 0'), true],
  ['other numbers', described('111', opus), described('96', 'a=rtpmap:96 OPUS/48000/2'), true],
  ['nothing in common', described('111', opus), described('0'), false],
  ['events alone', described('111 101', opus, events), described('0 101', events), false],
  ['another clock', described('96', 'a=rtpmap:96 L16/16000'), described('11 0'), false],
  ['nothing said yet', described('0'), '', true],
])('whether two parties have a common codec: %s', (_, one, other, expected) => {
  expect(haveCommonCodec(one, other)).toBe(expected);
  expect(haveCommonCodec(other, one)).toBe(expected);
});

test('what was added to an offer is taken out, with all that was said about it', () => {
  expect(withoutAdded(wide, caller)).toBe(caller);
  expect(withoutAdded(wide, wide)).toBe(wide);
  expect(withoutAdded(wide, ''), 'nothing is known of the offerer').toBe(wide);
  const video = 'm=video 5000 RTP/AVP 96 97\r\na=rtpmap:97 H264/90000\r\n';
  expect(withoutAdded(wide + video, caller + video.replace(' 97', ''))).toBe(caller + video);
});

test('a phone is offered more when it refuses what the other party has', () => {
  expect(offersFor('sip:1@10.0.0.1', wide, caller)).toEqual([caller, wide]);
  expect(offersFor('sip:1@10.0.0.1', caller, caller)).toEqual([caller]);
});

test('a browser is offered all at once', () => {
  const uri = 'sip:1@x.invalid;transport=ws';
  const all = wide.replace('RTP/AVP', 'UDP/TLS/RTP/SAVPF');
  expect(offersFor(uri, wide, caller)).toEqual([all]);
});

test('encryption alone is tried before other codecs', () => {
  const secure = (sdp: string) => sdp.replace('RTP/AVP', 'RTP/SAVP');
  const [narrow, all] = [caller, wide].map((sdp) => `${sdp}${key}\r\n`) as [string, string];
  const uri = 'sips:1@10.0.0.1';
  expect(offersFor(uri, all, caller)).toEqual([narrow, secure(narrow), all, secure(all)]);
  expect(offersFor(uri, narrow, caller)).toEqual([narrow, secure(narrow)]);
});
