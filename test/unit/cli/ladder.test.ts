import { expect, it } from 'vitest';
import { formatLadder, ladderWidth } from '../../../src/cli/ladder.ts';
import type { TraceMessage } from '../../../src/portal/api/shapes.ts';

const start = 1_700_000_000_000_000;
const alice = { user: '1001', address: '192.0.2.1:5060' };
const bob = { user: '1002', address: '192.0.2.2:5060' };

interface Given {
  ms: number;
  sent: boolean;
  peer: { user: string; address: string };
  line: string;
  cseq: string;
  sdp?: boolean;
}

/** A message between us and a peer; alice called us, we called the others. */
function message({ ms, sent, peer, line, cseq, sdp = false }: Given): TraceMessage {
  const fromPeer = peer === alice;
  const text = [
    line,
    `From: "x" <sip:${fromPeer ? peer.user : '1001'}@pbx.test>;tag=1`,
    `t: <sip:${fromPeer ? '1002' : peer.user}@pbx.test>`,
    'Call-ID: one',
    `CSeq: ${cseq}`,
    ...(sdp ? ['Content-Type: application/sdp'] : []),
    '',
    sdp ? 'v=0' : '',
  ].join('\r\n');
  return {
    server: 'cm-1',
    atUs: start + ms * 1000,
    sent,
    transport: 'udp',
    local: '192.0.2.9:5060',
    remote: peer.address,
    length: text.length,
    encoding: 'utf8',
    text,
  };
}

const call = [
  { ms: 0, sent: false, peer: alice, line: 'INVITE sip:b SIP/2.0', cseq: '1 INVITE', sdp: true },
  { ms: 2, sent: true, peer: alice, line: 'SIP/2.0 100 Trying', cseq: '1 INVITE' },
  { ms: 3, sent: true, peer: bob, line: 'INVITE sip:b SIP/2.0', cseq: '7 INVITE', sdp: true },
  { ms: 503, sent: true, peer: bob, line: 'INVITE sip:b SIP/2.0', cseq: '7 INVITE', sdp: true },
  { ms: 510, sent: false, peer: bob, line: 'SIP/2.0 200 OK', cseq: '7 INVITE', sdp: true },
  { ms: 12_345, sent: false, peer: bob, line: 'BYE sip:a SIP/2.0', cseq: '1 BYE' },
].map(message);

it('a call is drawn with both legs, times, bodies and repetitions', () => {
  expect(formatLadder(call)).toMatchInlineSnapshot(`
    "          1001                              pbx                               1002
      +0.000  |--INVITE 1 sdp------------------>|                                 |
      +0.002  |<-100 Trying 1 INVITE------------|                                 |
      +0.003  |                                 |--INVITE 7 sdp------------------>|
      +0.503  |                                 |--INVITE 7 sdp again------------>|
      +0.510  |                                 |<-200 OK 7 INVITE sdp------------|
     +12.345  |                                 |<-BYE 1--------------------------|"
  `);
});

it('no line is wider than a terminal, however many phones ring', () => {
  for (const phones of [1, 2, 3, 4, 5, 9]) {
    const legs = Array.from({ length: phones }, (_, i) =>
      message({
        ms: i,
        sent: true,
        peer: { user: `a-rather-long-name-of-a-user-${i}`, address: `192.0.2.${50 + i}:5060` },
        line: 'SIP/2.0 487 Request Terminated Because Somebody Else Was Faster Than You',
        cseq: '4294967295 INVITE',
        sdp: true,
      }),
    );
    const lines = formatLadder([...call.slice(0, 1), ...legs]).split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(ladderWidth);
    expect(lines).toHaveLength(phones + 2);
  }
});

it('phones that have no column of their own share one', () => {
  const legs = Array.from({ length: 9 }, (_, i) =>
    message({
      ms: i,
      sent: true,
      peer: { user: `200${i}`, address: `192.0.2.${50 + i}:5060` },
      line: 'INVITE sip:b SIP/2.0',
      cseq: '1 INVITE',
    }),
  );
  const [heading = ''] = formatLadder([...call.slice(0, 1), ...legs]).split('\n');
  expect(heading.trim().split(/\s+/)).toEqual(['1001', 'pbx', '2000', '2001', '2002', 'others']);
});

it('what strangers write cannot command the terminal', () => {
  const evil = message({
    ms: 0,
    sent: false,
    peer: { user: '\u001b]0;owned\u0007', address: '192.0.2.66:5060' },
    line: 'SIP/2.0 200 \u001b[2J\u009b31mOK',
    cseq: '1 INVITE',
  });
  const lines = formatLadder([evil]).split('\n');
  expect(lines.join('')).not.toMatch(/\p{Cc}/u);
  expect(lines[1]).toContain('200 ?[2J?31mOK 1 INVITE');
});

it('there is no ladder without messages', () => {
  expect(formatLadder([])).toBe('');
});
