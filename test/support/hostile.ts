/**
 * Sends bytes that no well-meaning program would send, from inside the phones' namespace.
 * Runs as a child process; `openHostile` is the other end.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { type Inside, openInside, serve } from './inside.ts';

export interface Hostile {
  /** Each as one datagram. */
  udp(address: string, port: number, datagrams: Buffer[]): Promise<void>;
  /** Each on a connection of its own, closed after `lingerMs` at the latest. */
  tcp(address: string, port: number, streams: Buffer[]): Promise<void>;
  stop(): Promise<void>;
}

export function openHostile(namespace: string): Hostile {
  const inside: Inside = openInside(namespace, new URL(import.meta.url));
  const send = (how: string, address: string, port: number, all: Buffer[]) =>
    inside.call<void>(
      how,
      address,
      port,
      all.map((bytes) => bytes.toString('base64')),
    );
  return {
    udp: (address, port, datagrams) => send('udp', address, port, datagrams),
    tcp: (address, port, streams) => send('tcp', address, port, streams),
    stop: () => inside.stop(),
  };
}

/** How long a connection stays open when the server says nothing. */
const lingerMs = 300;
/** Larger than any datagram may be. */
const datagramBytesMax = 65_507;

async function udp(address: string, port: number, datagrams: string[]): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  for (const text of datagrams) {
    const bytes = Buffer.from(text, 'base64').subarray(0, datagramBytesMax);
    await new Promise<void>((resolve) => socket.send(bytes, port, address, () => resolve()));
  }
  socket.close();
}

async function tcp(address: string, port: number, streams: string[]): Promise<void> {
  await Promise.all(streams.map((text) => oneStream(address, port, Buffer.from(text, 'base64'))));
}

function oneStream(address: string, port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, address, () => socket.write(bytes));
    socket.setTimeout(lingerMs, () => socket.destroy());
    socket.on('data', () => undefined);
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });
}

if (process.send !== undefined && process.argv[1] === new URL(import.meta.url).pathname) {
  serve({ udp, tcp });
}
