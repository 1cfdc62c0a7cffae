/**
 * The copies a HEP collector gets, read from a real socket by a parser that shares nothing with
 * the engine, and the trace through the addon.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SipEngine } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';

const address = '127.0.0.1';
const port = { sip: 15480, drachtio: 15481 };
const waitMs = 5_000;

let engine: SipEngine;
let collector: Socket;
let phone: Socket;
let packets: Buffer[] = [];
let heard: string[] = [];

beforeEach(async () => {
  [collector, phone] = [createSocket('udp4'), createSocket('udp4')];
  packets = [];
  heard = [];
  collector.on('message', (bytes) => packets.push(bytes));
  phone.on('message', (bytes) => heard.push(bytes.toString()));
  for (const socket of [collector, phone]) {
    socket.bind(0, address);
    await once(socket, 'listening');
  }
  engine = SipEngine.start(
    {
      listen: [`udp/${address}:${port.sip}`],
      nameServers: [],
      connectionsPerAddress: 16,
      tls: null,
      drachtio: { listen: `${address}:${port.drachtio}`, secret: 'not a real secret' },
      registrar: null,
      authenticateCalls: false,
      trusted: [],
      sessionTimer: { expiresS: 0, minSeS: 90 },
      traceBytes: 2 ** 20,
      hep: { address: `${address}:${collector.address().port}`, id: 77, password: 'key' },
      secret: 'not a real secret',
    },
    null,
    () => undefined,
  );
});

afterEach(() => {
  engine.close();
  collector.close();
  phone.close();
});

/** The chunks of a packet: vendor, type, length, value. */
function chunks(packet: Buffer): Map<number, Buffer> {
  expect(packet.toString('latin1', 0, 4)).toBe('HEP3');
  expect(packet.readUInt16BE(4)).toBe(packet.length);
  const found = new Map<number, Buffer>();
  for (let at = 6; at < packet.length; at += packet.readUInt16BE(at + 4)) {
    expect(packet.readUInt16BE(at)).toBe(0);
    found.set(
      packet.readUInt16BE(at + 2),
      packet.subarray(at + 6, at + packet.readUInt16BE(at + 4)),
    );
  }
  return found;
}

it('a request and its answer reach the collector and the trace, credentials masked', async () => {
  const { port: from } = phone.address();
  const request = [
    `OPTIONS sip:pbx@${address} SIP/2.0`,
    `Via: SIP/2.0/UDP ${address}:${from};branch=z9hG4bK1;rport`,
    `From: "Jörg" <sip:1001@${address}>;tag=t`,
    `To: <sip:pbx@${address}>`,
    'Call-ID: one@phone',
    'CSeq: 1 OPTIONS',
    'Max-Forwards: 70',
    'Authorization: Digest username="1001", response="0123456789abcdef", uri="sip:x"',
    'Content-Length: 0',
    '\r\n',
  ].join('\r\n');
  const masked = request.replace('0123456789abcdef', '*'.repeat(16));
  const before = Date.now();
  phone.send(request, port.sip, address);
  const [came, sent] = await eventually(
    'both copies',
    waitMs,
    () => packets.length === 2 && packets,
  );

  const one = chunks(came as Buffer);
  const two = chunks(sent as Buffer);
  expect(one.get(15)?.toString()).toBe(masked);
  expect(two.get(15)?.toString()).toBe(await eventually('answer', waitMs, () => heard[0] ?? false));
  const ports = (packet: typeof one) => [7, 8].map((kind) => packet.get(kind)?.readUInt16BE());
  expect(ports(one)).toEqual([from, port.sip]);
  expect(ports(two)).toEqual([port.sip, from]);
  for (const packet of [one, two]) {
    const bytes = (kind: number) => [...(packet.get(kind) ?? [])];
    expect([bytes(1), bytes(2), bytes(11)]).toEqual([[2], [17], [1]]);
    expect([bytes(3), bytes(4)]).toEqual([
      [127, 0, 0, 1],
      [127, 0, 0, 1],
    ]);
    expect(packet.get(12)?.readUInt32BE()).toBe(77);
    expect(packet.get(14)?.toString()).toBe('key');
    expect(packet.get(17)?.toString()).toBe('one@phone');
    const seconds = packet.get(9)?.readUInt32BE() ?? 0;
    const micros = packet.get(10)?.readUInt32BE() ?? 0;
    expect(seconds * 1000 + micros / 1000).toBeGreaterThanOrEqual(before);
    expect(seconds * 1000 + micros / 1000).toBeLessThanOrEqual(Date.now() + 1);
  }

  const trace = engine.trace(['one@phone']);
  expect(trace.callIds).toEqual(['one@phone']);
  expect(trace.messages.map(({ sent: ours, text }) => [ours, text])).toEqual([
    [false, masked],
    [true, heard[0]],
  ]);
  expect(trace.messages[0]).toMatchObject({
    transport: 'udp',
    local: `${address}:${port.sip}`,
    remote: `${address}:${from}`,
    length: Buffer.byteLength(request),
    encoding: 'utf8',
  });
  await eventually('two are counted', waitMs, () =>
    engine.metrics().includes('raftpbx_sip_hep_sent_total 2\n'),
  );
});
