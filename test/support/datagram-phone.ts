/**
 * A peer on one UDP socket that answers and calls by rules of the test, without any timer: for
 * hundreds of calls at once and for messages that must leave in one burst.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export interface Message {
  start: string;
  text: string;
  header(name: string): string;
}

export class DatagramPhone {
  readonly #socket: Socket;
  readonly address: string;
  readonly port: number;
  onMessage: (message: Message) => void = () => undefined;

  private constructor(socket: Socket, address: string, port: number) {
    this.#socket = socket;
    this.address = address;
    this.port = port;
    socket.on('message', (bytes) => this.onMessage(read(bytes.toString())));
  }

  static async open(address: string, port: number): Promise<DatagramPhone> {
    const socket = createSocket('udp4');
    socket.bind(port, address);
    await once(socket, 'listening');
    return new DatagramPhone(socket, address, port);
  }

  close(): void {
    this.#socket.close();
  }

  /** Sends to a port on the same address. */
  send(port: number, ...texts: string[]): void {
    for (const text of texts) {
      this.#socket.send(text, port, this.address);
    }
  }

  request(method: string, call: string, cseq: number, toTag = '', more = '', body = ''): string {
    const own = `${this.address}:${this.port}`;
    const tag = toTag === '' ? '' : `;tag=${toTag}`;
    return [
      `${method} sip:callee@${this.address} SIP/2.0`,
      `Via: SIP/2.0/UDP ${own};branch=z9hG4bK${call}${method}${cseq};rport`,
      `From: <sip:caller@${own}>;tag=caller`,
      `To: <sip:callee@${this.address}>${tag}`,
      `Call-ID: ${call}`,
      `CSeq: ${cseq} ${method}`,
      'Max-Forwards: 70',
      `Contact: <sip:caller@${own}>`,
      `${more}Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n');
  }

  response(request: Message, status: string, body = '', more = ''): string {
    const kept = request.text
      .split('\r\n')
      .filter((line) => /^(Via|From|Call-ID|CSeq|Record-Route):/i.test(line));
    const to = request.header('To');
    return [
      `SIP/2.0 ${status}`,
      ...kept,
      `To: ${to}${to.includes('tag=') ? '' : ';tag=callee'}`,
      `Contact: <sip:callee@${this.address}:${this.port}>`,
      `${more}${body === '' ? '' : 'Content-Type: application/sdp\r\n'}Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n');
  }
}

function read(text: string): Message {
  const lines = text.split('\r\n');
  return {
    start: lines[0] ?? '',
    text,
    header(name) {
      const prefix = `${name.toLowerCase()}:`;
      const line = lines.find((one) => one.toLowerCase().startsWith(prefix));
      return line?.slice(prefix.length).trim() ?? '';
    },
  };
}

/** The tag of a To or From value. */
export function tagOf(value: string): string {
  return /;tag=([^;>\s]+)/.exec(value)?.[1] ?? '';
}
