/** Bad input for each listener, the same on every run: torn, oversized, contradictory, random. */
import { createHash } from 'node:crypto';

/** Bytes that look random and are the same for the same seed. */
function noise(seed: string, length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, i) =>
    createHash('sha256').update(`${seed}${i}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

/** A good message cut after every `step` bytes. */
function torn(message: string, step: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let end = 1; end < message.length; end += step) {
    pieces.push(Buffer.from(message.slice(0, end)));
  }
  return pieces;
}

const invite = (extra: string[] = [], body = '') =>
  [
    'INVITE sip:1002@lab.raftpbx.test SIP/2.0',
    'Via: SIP/2.0/UDP 10.77.0.240:5060;branch=z9hG4bKnonsense;rport',
    'Max-Forwards: 70',
    'From: <sip:1001@lab.raftpbx.test>;tag=nonsense',
    'To: <sip:1002@lab.raftpbx.test>',
    'Call-ID: nonsense',
    'CSeq: 1 INVITE',
    'Contact: <sip:1001@10.77.0.240>',
    ...extra,
    '',
    body,
  ].join('\r\n');

/** For SIP over UDP and TCP. */
export function sipNonsense(): Buffer[] {
  const whole = invite(['Content-Type: application/sdp', 'Content-Length: 5'], 'v=0\r\n');
  const replace = (from: string | RegExp, to: string) => Buffer.from(whole.replace(from, to));
  return [
    ...torn(whole, 23),
    noise('sip', 1),
    noise('sip', 1400),
    noise('sip', 65_507),
    Buffer.alloc(65_507, 0),
    Buffer.alloc(65_507, '\r\n'),
    Buffer.from(invite(Array.from({ length: 5000 }, (_, i) => `X-${i}: ${i}`))),
    Buffer.from(invite([`X-Long: ${'x'.repeat(60_000)}`])),
    Buffer.from(invite(Array.from({ length: 1000 }, () => 'Via: SIP/2.0/UDP 10.0.0.1'))),
    replace('Content-Length: 5', 'Content-Length: 4294967296'),
    replace('Content-Length: 5', 'Content-Length: -1'),
    replace('Content-Length: 5', 'Content-Length: 5\r\nContent-Length: 50'),
    replace('CSeq: 1 INVITE', 'CSeq: 99999999999999999999 INVITE'),
    replace('CSeq: 1 INVITE', 'CSeq: 1 BYE'),
    replace('SIP/2.0\r\n', 'SIP/9.9\r\n'),
    replace('sip:1002@lab', `sip:${'%41'.repeat(5000)}@lab`),
    replace('Max-Forwards: 70', 'Max-Forwards: 0'),
    replace(/From: .*/, 'From: <<<>>>;;;tag==='),
    replace(/Via: .*/, 'Via: SIP/2.0/UDP 0.0.0.0:0;branch=z9hG4bK;received=;rport=99999'),
    replace(/To: .*/, 'To: <sip:1002@lab.raftpbx.test>;tag=no-such-dialog'),
    Buffer.from('SIP/2.0 200 OK\r\n\r\n'),
    Buffer.from('SIP/2.0 999999 No\r\nVia: x\r\n\r\n'),
    Buffer.from('REGISTER sip:lab.raftpbx.test SIP/2.0\r\nContact: *\r\nExpires: -5\r\n\r\n'),
  ];
}

/** For the NG protocol of the media servers. */
export function ngNonsense(): Buffer[] {
  const good = '1_1 d7:command5:offer7:call-id1:x8:from-tag1:y3:sdp4:v=0\ne';
  return [
    ...torn(good, 5),
    noise('ng', 200),
    noise('ng', 65_507),
    Buffer.from('1_2 d7:command999999999999:x'),
    Buffer.from('1_3 d7:command-1:x'),
    Buffer.from(`1_4 ${'l'.repeat(60_000)}`),
    Buffer.from(`1_5 ${'d1:a'.repeat(15_000)}`),
    Buffer.from('1_6 d7:commandi99999999999999999999999999ee'),
    Buffer.from('1_7 d7:command7:no-suche'),
    Buffer.from('1_8 d7:command6:answer7:call-id7:nobodye'),
    Buffer.from(' d7:command4:pinge'),
  ];
}

/** For the Redis protocol of the Call Managers, before and instead of AUTH. */
export function respNonsense(): Buffer[] {
  return [
    ...torn('*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n', 3),
    noise('resp', 5000),
    Buffer.from('*1000000000\r\n'),
    Buffer.from('*-5\r\n$-7\r\n'),
    Buffer.from('*1\r\n$999999999999\r\n'),
    Buffer.from('*99999999999999999999\r\n'),
    Buffer.from('*1\r\n'.repeat(10_000)),
    Buffer.from('x'.repeat(1_000_000)),
    Buffer.from('*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n'),
    Buffer.from('*2\r\n$3\r\nDEL\r\n$17\r\nregistration:1001\r\n'),
    Buffer.from('*1\r\n$8\r\nFLUSHALL\r\n'),
    Buffer.from('FLUSHALL\r\n'),
  ];
}

/** For any listener that speaks TLS: Raft, the API. */
export function tlsNonsense(): Buffer[] {
  return [
    noise('tls', 3000),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0xff, 0xff]), noise('hello', 2000)]),
    Buffer.alloc(100_000, 0xff),
  ];
}
