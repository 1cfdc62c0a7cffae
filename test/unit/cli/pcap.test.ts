import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { formatPcap } from '../../../src/cli/pcap.ts';
import type { TraceMessage } from '../../../src/portal/api/shapes.ts';

const text = [
  'OPTIONS sip:b@pbx.test SIP/2.0',
  'Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1',
  'From: "Jörg" <sip:1001@pbx.test>;tag=1',
  'To: <sip:b@pbx.test>',
  'Call-ID: one@phone',
  'CSeq: 1 OPTIONS',
  'Content-Length: 0',
  '',
  '',
].join('\r\n');

const base: TraceMessage = {
  server: 'cm-1',
  atUs: 1_700_000_000_000_042,
  sent: false,
  transport: 'udp',
  local: '192.0.2.9:5060',
  remote: '192.0.2.1:5062',
  length: Buffer.byteLength(text),
  encoding: 'utf8',
  text,
};

/** What tshark, which shares no code with us, says of a capture; checksums are checked. */
function dissect(messages: TraceMessage[], fields: string[]): string[][] {
  const directory = mkdtempSync(join(tmpdir(), 'raftpbx-pcap-'));
  try {
    const file = join(directory, 'call.pcap');
    writeFileSync(file, formatPcap(messages));
    const checks = ['ip.check_checksum:TRUE', 'udp.check_checksum:TRUE'];
    const options = [...checks.flatMap((one) => ['-o', one]), '-T', 'fields', '-E', 'separator=|'];
    const asked = fields.flatMap((field) => ['-e', field]);
    const said = execFileSync('tshark', ['-r', file, ...options, ...asked], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return said
      .trimEnd()
      .split('\n')
      .map((line) => line.split('|'));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

it('tshark reads the messages as SIP between the right addresses at the right time', () => {
  const fields = ['frame.time_epoch', 'ip.src', 'udp.srcport', 'ip.dst', 'udp.dstport'];
  const answers = dissect(
    [base, { ...base, sent: true, transport: 'tls', atUs: base.atUs + 7 }],
    [...fields, 'sip.Method', 'sip.Call-ID'],
  );
  expect(answers).toEqual([
    ['1700000000.000042000', '192.0.2.1', '5062', '192.0.2.9', '5060', 'OPTIONS', 'one@phone'],
    ['1700000000.000049000', '192.0.2.9', '5060', '192.0.2.1', '5062', 'OPTIONS', 'one@phone'],
  ]);
});

it('checksums are right for both families, and for an odd number of bytes', () => {
  const v6 = { ...base, local: '[2001:db8::9]:5060', remote: '[fd77::1:10.0.0.1]:5062' };
  const odd = { ...base, text: `${text}x`, length: base.length + 1 };
  const mixed = { ...base, local: '[::]:5060' };
  const answers = dissect(
    [base, odd, v6, { ...v6, ...odd, local: v6.local, remote: v6.remote }, mixed],
    ['ip.checksum.status', 'udp.checksum.status', 'ipv6.src', 'ipv6.dst'],
  );
  expect(answers).toEqual([
    ['1', '1', '', ''],
    ['1', '1', '', ''],
    ['', '1', 'fd77::1:a00:1', '2001:db8::9'],
    ['', '1', 'fd77::1:a00:1', '2001:db8::9'],
    ['', '1', '::ffff:192.0.2.1', '::'],
  ]);
});

it('a message that was cut is a packet that was cut', () => {
  const cut = { ...base, length: 30_000 };
  const [answer] = dissect([cut], ['frame.len', 'frame.cap_len', 'udp.length', 'udp.checksum']);
  expect(answer).toEqual(['30028', String(28 + base.length), '30008', '0x0000']);
});

it('bytes that are no text come out as they came in', () => {
  const bytes = Buffer.from([...Buffer.from(text), 0xff, 0x80]);
  const binary = { ...base, encoding: 'latin1' as const, text: bytes.toString('latin1') };
  const capture = formatPcap([{ ...binary, length: bytes.length }]);
  expect(capture.subarray(-bytes.length)).toEqual(bytes);
});
