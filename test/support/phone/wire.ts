/** Where the phone's SIP text goes out and comes in: one UDP socket, or one TCP connection. */
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { cutStream } from './message.ts';

export interface Place {
  address: string;
  port: number;
}

export function hostPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

export interface Wire {
  /** The port that Contact and Via name. */
  port(): number;
  send(text: string, to: Place): void;
  close(): void;
}

export type Receive = (text: string, from: Place) => void;

export async function openUdp(local: Place, receive: Receive): Promise<Wire> {
  const socket = createSocket(local.address.includes(':') ? 'udp6' : 'udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(local.port, local.address, resolve);
  });
  // While the cluster changes leader the address may be nobody's: retransmissions cover it.
  socket.on('error', () => undefined);
  socket.on('message', (bytes, from) => receive(bytes.toString(), from));
  return {
    port: () => socket.address().port,
    send: (text, to) => socket.send(text, to.port, to.address),
    close: () => socket.close(),
  };
}

/** Connects to `registrar` at the first message, and again after the connection was lost. */
export function openTcp(local: Place, registrar: Place, receive: Receive): Wire {
  let connection: Socket | null = null;
  const open = (): Socket => {
    const { address, port } = registrar;
    const fresh = connect({ host: address, port, localAddress: local.address });
    let stream = '';
    fresh.setEncoding('utf8');
    fresh.on('data', (text: string) => {
      const cut = cutStream(stream + text);
      stream = cut.rest;
      for (const message of cut.messages) {
        receive(message, registrar);
      }
    });
    fresh.on('error', () => undefined);
    fresh.on('close', () => {
      connection = connection === fresh ? null : connection;
    });
    return fresh;
  };
  return {
    // A phone is reached over the connection it opened: the number only has to stay the same.
    port: () => local.port || 5060,
    send: (text) => {
      connection ??= open();
      connection.write(text);
    },
    close: () => connection?.destroy(),
  };
}
