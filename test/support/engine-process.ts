/**
 * `raftpbx sip` as a program of its own, and a listener between it and its applications that
 * keeps what they say: so an engine is used as any server that speaks the protocol.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { inNamespace } from '../../src/lab/network.ts';
import { eventually } from './eventually.ts';
import { projectRoot } from './source.ts';

/** The program loads its addon within this, on a machine with a lot to do. */
const startMs = 20_000;

export interface EngineProcessOptions {
  /** `udp/127.0.0.1:5060` and others. */
  listen: readonly string[];
  /** `host:port` of applications. */
  drachtio: string;
  secret: string;
  /** Where it runs; our own unless given. */
  namespace?: string;
}

/** An engine that can be stopped and started again. */
export class EngineProcess {
  readonly #options: EngineProcessOptions;
  #child: ChildProcess | null = null;

  constructor(options: EngineProcessOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { listen, drachtio, secret, namespace } = this.#options;
    const words = ['sip', '--listen', listen.join(','), '--drachtio', drachtio];
    const command = [join(projectRoot, 'bin/raftpbx'), ...words, '--secret', secret];
    const [first = '', ...args] =
      namespace === undefined ? command : inNamespace(namespace, command);
    const child = spawn(first, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    let said = '';
    child.stdout.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    await eventually('the engine', startMs, () => said.includes('ready'));
  }

  /** As a power cut. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child !== null && child.exitCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
}

/** A frame of the drachtio protocol that an application has sent. */
export interface Frame {
  /** Digits of its length: a drachtio-server reads five. */
  digits: number;
  tokens: string[];
  /** The SIP message. */
  text: string;
}

/** Stands between applications and an engine. */
export class Tap {
  readonly frames: Frame[] = [];
  /** Connections begun so far. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(engine: { host: string; port: number }) {
    this.#server = createServer((near) => {
      this.connections += 1;
      const far = connect(engine);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      this.#record(near);
      near.pipe(far);
      far.pipe(near);
    });
  }

  async listen(host: string, port: number): Promise<void> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
  }

  /** How many applications are connected now. */
  get open(): number {
    return this.#sockets.size / 2;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    this.#server.close();
    await once(this.#server, 'close');
  }

  #record(socket: Socket): void {
    let rest = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes]);
      for (;;) {
        const digits = rest.indexOf('#');
        const length = Number(rest.subarray(0, Math.max(digits, 0)).toString());
        if (digits < 1 || rest.length < digits + 1 + length) {
          return;
        }
        const payload = rest.subarray(digits + 1, digits + 1 + length).toString();
        rest = rest.subarray(digits + 1 + length);
        const end = payload.indexOf('\r\n');
        const leader = end < 0 ? payload : payload.slice(0, end);
        const text = end < 0 ? '' : payload.slice(end + 2);
        this.frames.push({ digits, tokens: leader.split('|'), text });
      }
    });
  }
}
