/** A kamailio in a namespace, with one of the configurations of this folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inNamespace } from '../../../src/lab/network.ts';

/** How long it may take to end by itself. */
const endMsMax = 5000;

export interface KamailioOptions {
  /** `edge` of `edge.cfg`. */
  configuration: 'edge' | 'provider';
  /** null: our own. */
  namespace: string | null;
  address: string;
  port: number;
  /** More names of the configuration, as they stand there: texts in quotes. */
  names: Record<string, string>;
}

export class Kamailio {
  readonly #child: ChildProcess;
  readonly #folder: string;
  #said = '';

  constructor({ configuration, namespace, address, port, names }: KamailioOptions) {
    const file = fileURLToPath(new URL(`./${configuration}.cfg`, import.meta.url));
    this.#folder = mkdtempSync(join(tmpdir(), 'raftpbx-kamailio-'));
    const memory = ['-m', '64', '-M', '8'];
    const files = ['-f', file, '-P', join(this.#folder, 'pid'), '-Y', this.#folder];
    const listen = ['-A', `LISTEN=udp:${address}:${port}`];
    const others = Object.entries(names).flatMap(([name, value]) => ['-A', `${name}=${value}`]);
    const argv = ['kamailio', ...files, ...memory, '-E', '-DD', ...listen, ...others];
    const [first = '', ...args] = namespace === null ? argv : inNamespace(namespace, argv);
    this.#child = spawn(first, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr?.on('data', (bytes: Buffer) => {
      this.#said = `${this.#said}${bytes}`.slice(-2000);
    });
  }

  /** The end of what it has said. */
  get said(): string {
    return this.#said;
  }

  /** Ends it with its children. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = new Promise((resolve) => this.#child.once('exit', resolve));
      this.#child.kill('SIGTERM');
      const late = setTimeout(() => this.#child.kill('SIGKILL'), endMsMax);
      await gone;
      clearTimeout(late);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
