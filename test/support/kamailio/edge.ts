/** A kamailio between phones and the cluster; `edge.cfg` says what it does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inNamespace } from '../../../src/lab/network.ts';

const configuration = fileURLToPath(new URL('./edge.cfg', import.meta.url));
/** How long it may take to end by itself. */
const endMsMax = 5000;

export interface EdgeOptions {
  namespace: string;
  address: string;
  port: number;
  /** The VIP. */
  cluster: { address: string; port: number };
}

export class Edge {
  readonly #child: ChildProcess;
  readonly #folder: string;
  #said = '';

  constructor({ namespace, address, port, cluster }: EdgeOptions) {
    this.#folder = mkdtempSync(join(tmpdir(), 'raftpbx-kamailio-'));
    const memory = ['-m', '64', '-M', '8'];
    const files = ['-f', configuration, '-P', join(this.#folder, 'pid'), '-Y', this.#folder];
    const listen = ['-A', `LISTEN=udp:${address}:${port}`];
    const argv = ['kamailio', ...files, ...memory, '-E', '-DD', ...listen];
    const [first = '', ...args] = inNamespace(namespace, [
      ...argv,
      ...['-A', `CLUSTER="${cluster.address}"`, '-A', `CLUSTER_PORT="${cluster.port}"`],
    ]);
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
