/**
 * Messages as a packet capture: the classic pcap format with microseconds, LINKTYPE_RAW, and an
 * IP and UDP header made for each message, whatever transport it really came by. Pure.
 */
import { isIPv4 } from 'node:net';
import { splitAddress } from '../config/address.ts';
import type { TraceMessage } from '../portal/api/shapes.ts';

const magic = 0xa1b2c3d4;
/** Packets begin with an IPv4 or IPv6 header. */
const linkTypeRaw = 101;
const udp = 17;
const udpHeaderBytes = 8;
/** What the length field of UDP can say. */
const payloadBytesMax = 65_535 - udpHeaderBytes - 20;

/** The whole file. */
export function formatPcap(messages: readonly TraceMessage[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(magic, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65_535, 16);
  head.writeUInt32LE(linkTypeRaw, 20);
  return Buffer.concat([head, ...messages.flatMap(record)]);
}

function record(message: TraceMessage): Buffer[] {
  const packet = packetOf(message);
  const payload = Buffer.byteLength(message.text, message.encoding);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(Math.floor(message.atUs / 1_000_000), 0);
  head.writeUInt32LE(message.atUs % 1_000_000, 4);
  head.writeUInt32LE(packet.length, 8);
  // A message that was cut is a packet that was cut.
  head.writeUInt32LE(packet.length - payload + lengthOf(message), 12);
  return [head, packet];
}

function lengthOf(message: TraceMessage): number {
  return Math.min(message.length, payloadBytesMax);
}

function packetOf(message: TraceMessage): Buffer {
  const [from, to] = message.sent
    ? [message.local, message.remote]
    : [message.remote, message.local];
  const source = splitAddress(from) ?? { host: '0.0.0.0', port: 0 };
  const destination = splitAddress(to) ?? { host: '0.0.0.0', port: 0 };
  const isV4 = isIPv4(source.host) && isIPv4(destination.host);
  const addresses = [source, destination].map(({ host }) =>
    isV4 ? bytesOfV4(host) : bytesOfV6(host),
  );
  const [sourceBytes = Buffer.alloc(0), destinationBytes = Buffer.alloc(0)] = addresses;
  const payload = Buffer.from(message.text, message.encoding);
  const length = udpHeaderBytes + lengthOf(message);
  const header = Buffer.alloc(udpHeaderBytes);
  header.writeUInt16BE(source.port, 0);
  header.writeUInt16BE(destination.port, 2);
  header.writeUInt16BE(length, 4);
  // The sum of a message that was cut cannot be known: 0 says that there is none.
  if (payload.length === lengthOf(message)) {
    const pseudo = Buffer.alloc(8);
    pseudo.writeUInt32BE(length, 0);
    pseudo.writeUInt32BE(udp, 4);
    const sum = checksum([sourceBytes, destinationBytes, pseudo, header, payload]);
    header.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  }
  const ip = isV4
    ? headerV4(length, sourceBytes, destinationBytes)
    : headerV6(length, sourceBytes, destinationBytes);
  return Buffer.concat([ip, header, payload]);
}

/** RFC 791 section 3.1. */
function headerV4(length: number, source: Buffer, destination: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header[8] = 64;
  header[9] = udp;
  source.copy(header, 12);
  destination.copy(header, 16);
  header.writeUInt16BE(checksum([header]), 10);
  return header;
}

/** RFC 8200 section 3. */
function headerV6(length: number, source: Buffer, destination: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header[6] = udp;
  header[7] = 64;
  source.copy(header, 8);
  destination.copy(header, 24);
  return header;
}

/** The Internet checksum, RFC 1071; all parts but the last have an even length. */
function checksum(parts: readonly Buffer[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) {
      sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
    }
  }
  while (sum > 0xffff) {
    sum = (sum & 0xffff) + (sum >>> 16);
  }
  return ~sum & 0xffff;
}

function bytesOfV4(host: string): Buffer {
  return Buffer.from(host.split('.').map(Number));
}

/** An IPv4 address stands in its mapped form beside one of IPv6. */
function bytesOfV6(host: string): Buffer {
  if (isIPv4(host)) {
    return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), bytesOfV4(host)]);
  }
  const tail = /(\d+\.\d+\.\d+\.\d+)$/.exec(host)?.[1];
  const [high = 0, low = 0] = tail === undefined ? [] : pairs(bytesOfV4(tail));
  const hex =
    tail === undefined ? host : host.replace(tail, `${high.toString(16)}:${low.toString(16)}`);
  const [before = '', after] = hex.split('::');
  const head = before === '' ? [] : before.split(':');
  const rest = after === undefined || after === '' ? [] : after.split(':');
  const zeros = Array.from({ length: 8 - head.length - rest.length }, () => '0');
  const bytes = Buffer.alloc(16);
  [...head, ...zeros, ...rest].forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), i * 2);
  });
  return bytes;
}

function pairs(bytes: Buffer): number[] {
  return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
}
