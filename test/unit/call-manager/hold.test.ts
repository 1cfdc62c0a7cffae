import { expect, test } from 'vitest';
import { sideOnHold } from '../../../src/call-manager/calls/hold.ts';

/** A description with one audio line. */
function sdp(direction: string, { session = '', address = '192.0.2.1' } = {}): string {
  const head = `v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 ${address}\r\nt=0 0\r\n`;
  const said = (value: string) => (value === '' ? '' : `a=${value}\r\n`);
  return `${head}${said(session)}m=audio 4000 RTP/AVP 0\r\n${said(direction)}`;
}

const nowhere = { address: '0.0.0.0' };

test.each([
  ['nobody', sdp(''), sdp(''), null],
  ['the caller holds', sdp('sendonly'), sdp('recvonly'), 'device'],
  ['the device holds', sdp('recvonly'), sdp('sendonly'), 'caller'],
  ['for all lines', sdp('', { session: 'sendonly' }), sdp('recvonly'), 'device'],
  ['the line knows better', sdp('sendrecv', { session: 'inactive' }), sdp(''), null],
  ['the way of RFC 2543', sdp('', nowhere), sdp(''), 'device'],
  ['a browser has no address yet', `${sdp('', nowhere)}a=ice-ufrag:abcd\r\n`, sdp(''), null],
  ['who listens to nothing hears nothing', sdp('inactive'), sdp('inactive'), null],
  ['both hold', sdp('sendonly'), sdp('sendonly'), null],
  ['inactive, and the other listens all the same', sdp('inactive'), sdp('recvonly'), 'device'],
  ['no description', '', '', null],
])('on hold: %s', (_, caller, device, side) => {
  expect(sideOnHold(caller, device)).toBe(side);
});
