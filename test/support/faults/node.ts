/** One node of the store as a process of its own, with `fault.c` between it and the kernel. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../eventually.ts';
import { Control } from './control.ts';
import type { Dice } from './dice.ts';
import { addressOf, type FaultNetwork } from './network.ts';
import { cutPower, mendJournal, type PowerCut, type Survival } from './power-cut.ts';

export const ports = { resp: 21_400, raft: 21_401 };

/** A busy machine is slow to schedule: elections must not follow from that alone. */
const timing = '--timing=60,400,800';

/** Few, so that nodes that were away are sent snapshots. */
const snapshots = '--snapshot-entries=1000';

const startTimeoutMs = 60_000;

/** What all nodes of a cluster have in common. */
export interface Cluster {
  nodes: readonly number[];
  /** The program, the library of faults, the certificates, and where each node's files go. */
  program: string;
  library: string;
  tls: string;
  folder: string;
  network: FaultNetwork;
  /** A promise to break, see `crates/store/src/mutations.rs`. */
  mutation: string | null;
}

export class FaultNode {
  readonly id: number;
  readonly address: string;
  readonly control: Control;
  readonly #cluster: Cluster;
  readonly #directory: string;
  readonly #journal: string;
  #child: ChildProcess | null = null;
  #gone: Promise<void> = Promise.resolve();
  /** Whether this node is meant to run; it must not end by itself. */
  #wanted = false;
  #ownEnds = 0;

  constructor(cluster: Cluster, id: number) {
    this.id = id;
    this.address = addressOf(id);
    this.#cluster = cluster;
    this.#directory = join(cluster.folder, `node-${id}`);
    this.#journal = join(cluster.folder, `journal-${id}`);
    mkdirSync(this.#directory);
    this.control = new Control(join(cluster.folder, `control-${id}`));
  }

  get isRunning(): boolean {
    return this.#child !== null;
  }

  /** How often the process ended without having been told to. */
  get ownEnds(): number {
    return this.#ownEnds;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) {
      throw new Error(`node ${this.id} does not run`);
    }
    return pid;
  }

  /** Starts the process; resolves when it serves clients. */
  async start(): Promise<void> {
    if (this.#child !== null) {
      return;
    }
    mendJournal(this.#journal);
    const { folder, network, nodes, program, tls } = this.#cluster;
    const peers = nodes.map((id) => `${id}=${addressOf(id)}:${ports.raft}`).join(',');
    const command = [
      ...['env', ...this.#environment(), program, String(this.id), this.#directory],
      ...[`${this.address}:${ports.resp}`, `${this.address}:${ports.raft}`, peers, tls],
      ...[timing, snapshots],
    ];
    const [nsenter = '', ...args] = network.at(this.id, command);
    const child = spawn(nsenter, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#wanted = true;
    const log = createWriteStream(join(folder, `node-${this.id}.log`), { flags: 'a' });
    child.stderr.pipe(log);
    let said = '';
    child.stdout.on('data', (bytes: Buffer) => {
      said += bytes;
    });
    this.#gone = new Promise((resolve) => {
      child.once('exit', () => {
        this.#child = null;
        this.#ownEnds += this.#wanted ? 1 : 0;
        resolve();
      });
    });
    await eventually(`node ${this.id} to be ready`, startTimeoutMs, () => {
      if (this.#child !== child) {
        return true;
      }
      return said.includes('ready');
    });
  }

  /** kill -9; resolves when the process is gone. The kernel keeps what it wrote. */
  async kill(): Promise<void> {
    this.#wanted = false;
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }

  /** Ends the process in order; resolves when it is gone. */
  async stop(): Promise<void> {
    this.#wanted = false;
    this.#child?.kill('SIGINT');
    await this.#gone;
  }

  /** Asks the process to hand leadership to another node. */
  handOver(): void {
    this.#child?.kill('SIGUSR1');
  }

  /** After `kill`: the disk loses what was not flushed. */
  cutPower(dice: Dice, survival: Survival): PowerCut {
    return cutPower(this.#directory, this.#journal, dice, survival);
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /**
   * The machine is suspended and wakes up: the boot clock has gone on, the monotonic one has not.
   */
  async suspend(ms: number): Promise<void> {
    this.pause();
    await eventually('the process to stop', 5000, () => this.#isStopped());
    const stopped = process.hrtime.bigint();
    await delay(ms);
    const offset = this.control.get('monotonicOffsetNs');
    this.control.set('monotonicOffsetNs', offset - Number(process.hrtime.bigint() - stopped));
    this.resume();
  }

  #isStopped(): boolean {
    // The state is the first word behind the name in parentheses.
    const text = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).startsWith('T');
  }

  #environment(): string[] {
    const { folder, library, mutation } = this.#cluster;
    return [
      `LD_PRELOAD=${library}`,
      `FAULT_DIRECTORY=${this.#directory}`,
      `FAULT_CONTROL=${join(folder, `control-${this.id}`)}`,
      `FAULT_JOURNAL=${this.#journal}`,
      ...(mutation === null ? [] : [`RAFTPBX_MUTATION=${mutation}`]),
    ];
  }
}
