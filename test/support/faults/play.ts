/** One run from the first start of the nodes to the last read, inside the clients' namespace. */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { run } from '../../../src/lab/shell.ts';
import { eventually } from '../eventually.ts';
import { Dice } from './dice.ts';
import { companions, type Fault, faults, type Scene } from './faults.ts';
import { History } from './history.ts';
import { type Key, Keys } from './keys.ts';
import { addressOf, type FaultNetwork } from './network.ts';
import { FaultNode, ports } from './node.ts';
import { Reader, readerNumbers } from './reader.ts';
import { type Abilities, abilitiesOf, Client, connect } from './workload.ts';

const clientsPerNode = 4;

/** Answers between the end of a fault and the beginning of the next. */
const calmAnswers = 150;

/** All nodes must serve again within this time after a fault; a busy machine needs some of it. */
const recoveryMaxMs = 60_000;

/** A store with a broken promise may stand still for good: what happened until then is judged. */
const brokenRecoveryMaxMs = 10_000;

export interface Plan {
  seed: number;
  /** Null: every fault once. */
  seconds: number | null;
  faults: readonly string[];
  mutation: string | null;
  folder: string;
  program: string;
  library: string;
  nodes: readonly number[];
  network: FaultNetwork;
}

export interface FaultDone {
  name: string;
  evidence: number;
  /** From the end of the fault until every node served a write. */
  recoveryMs: number;
  /** Answers that clients got while the fault was there. */
  answeredMeanwhile: number;
}

export interface Summary {
  seed: number;
  mutation: string | null;
  abilities: Abilities;
  answered: number;
  writesAnswered: number;
  unknown: number;
  keys: number;
  faults: FaultDone[];
  /** Processes that ended without having been told to. */
  ownEnds: number;
  /** Why the run ended early, null when it did not. */
  failure: string | null;
}

/** Plays the plan, writes `history.jsonl` and `summary.json` to its folder. */
export async function play(plan: Plan): Promise<void> {
  const stage = new Stage({ ...plan, folder: realpathSync(plan.folder) });
  let failure: string | null = null;
  try {
    await stage.open();
    await stage.perform();
    await stage.readAll();
  } catch (error) {
    failure = (error as Error).message;
  }
  await stage.close();
  writeFileSync(join(plan.folder, 'summary.json'), JSON.stringify(stage.summary(failure)));
}

class Stage {
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #history = new History();
  readonly #keys = new Keys();
  readonly #nodes: FaultNode[];
  readonly #monitors: Redis[] = [];
  readonly #clients: Client[] = [];
  readonly #readers: Reader[] = [];
  readonly #running: Promise<void>[] = [];
  readonly #done: FaultDone[] = [];
  #abilities: Abilities = { compareAndSet: false, watch: false };
  #probes = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#dice = new Dice(plan.seed);
    const tls = join(plan.folder, 'tls');
    mkdirSync(tls, { recursive: true });
    run([plan.program, 'certificates', tls, ...plan.nodes.map(addressOf)]);
    this.#nodes = plan.nodes.map((id) => new FaultNode({ ...plan, tls }, id));
  }

  /** Starts the nodes and the clients. */
  async open(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.start()));
    this.#monitors.push(...this.#nodes.map(({ address }) => connect(address, ports.resp)));
    await this.#untilServing();
    this.#abilities = await abilitiesOf(this.#monitors[0] as Redis);
    this.#startClients();
    this.#startReaders();
    await this.#untilCalm();
  }

  #startClients(): void {
    const count = clientsPerNode * this.#nodes.length;
    for (let number = 0; number < count; number += 1) {
      const node = this.#nodes[number % this.#nodes.length] as FaultNode;
      const client = new Client({
        history: this.#history,
        keys: this.#keys,
        dice: this.#dice.fork(),
        abilities: this.#abilities,
        redis: connect(node.address, ports.resp),
        number: readerNumbers * this.#nodes.length + number,
        clients: count,
      });
      this.#clients.push(client);
      this.#running.push(client.run());
    }
  }

  #startReaders(): void {
    for (const [i, { address }] of this.#nodes.entries()) {
      const reader = new Reader({
        history: this.#history,
        keys: this.#keys,
        dice: this.#dice.fork(),
        redis: connect(address, ports.resp),
        firstNumber: readerNumbers * i,
      });
      this.#readers.push(reader);
      this.#running.push(reader.run());
    }
  }

  async perform(): Promise<void> {
    const { faults, seconds } = this.#plan;
    if (seconds === null) {
      for (const name of this.#dice.shuffle(faults)) {
        await this.#do(name);
      }
      return;
    }
    const deadline = performance.now() + seconds * 1000;
    while (performance.now() < deadline) {
      await this.#do(this.#dice.pick(faults), this.#companion());
    }
  }

  /** In long runs faults meet: now and then two are there at the same time. */
  #companion(): string | null {
    const isAlone = this.#plan.faults.length === 1 || this.#dice.below(3) > 0;
    return isAlone ? null : this.#dice.pick(companions);
  }

  async #do(name: string, companion: string | null = null): Promise<void> {
    const [from, answered] = [this.#history.now(), this.#history.answered];
    const beside = companion === null ? [] : [faultOf(companion)(this.#scene())];
    const [evidence = 0] = await Promise.all([faultOf(name)(this.#scene()), ...beside]);
    const title = companion === null ? name : `${name} with ${companion}`;
    this.#history.span(title, from);
    const answeredMeanwhile = this.#history.answered - answered;
    const healed = performance.now();
    await this.#untilServing(title);
    const recoveryMs = Math.round(performance.now() - healed);
    this.#done.push({ name: title, evidence, recoveryMs, answeredMeanwhile });
    process.stderr.write(
      `${title}: evidence ${evidence}, ${answeredMeanwhile} answers meanwhile, ` +
        `served again after ${recoveryMs} ms\n`,
    );
    await this.#untilCalm();
  }

  #scene(): Scene {
    return {
      dice: this.#dice.fork(),
      nodes: this.#nodes,
      network: this.#plan.network,
      leader: () => this.#leader(),
    };
  }

  /** The last word on every key: what was acknowledged must be there. */
  async readAll(): Promise<void> {
    await this.#stopClients();
    const left = this.#dice.shuffle(this.#keys.all);
    const readers = this.#clients.map((client) => readSome(client, left));
    await Promise.all(readers);
  }

  async close(): Promise<void> {
    await this.#stopClients();
    for (const client of [...this.#clients, ...this.#readers]) {
      client.close();
    }
    for (const monitor of this.#monitors) {
      monitor.disconnect();
    }
    await Promise.all(this.#nodes.map((node) => node.kill()));
    for (const node of this.#nodes) {
      node.control.close();
    }
    this.#history.save(join(this.#plan.folder, 'history.jsonl'));
  }

  summary(failure: string | null): Summary {
    return {
      seed: this.#plan.seed,
      mutation: this.#plan.mutation,
      abilities: this.#abilities,
      answered: this.#history.answered,
      writesAnswered: this.#history.writesAnswered,
      unknown: this.#history.unknown,
      keys: this.#keys.all.length,
      faults: this.#done,
      ownEnds: this.#nodes.reduce((sum, node) => sum + node.ownEnds, 0),
      failure,
    };
  }

  async #stopClients(): Promise<void> {
    for (const client of [...this.#clients, ...this.#readers]) {
      client.stop();
    }
    await Promise.all(this.#running);
  }

  /** Every node runs and serves a write. */
  async #untilServing(after = 'the start'): Promise<void> {
    const limitMs = this.#plan.mutation === null ? recoveryMaxMs : brokenRecoveryMaxMs;
    await Promise.all(this.#nodes.map((node) => node.start()));
    await Promise.all(
      this.#monitors.map((monitor, i) =>
        eventually(`node ${i + 1} to serve after ${after}`, limitMs, async () => {
          this.#probes += 1;
          return (await monitor.set(`probe:${i}`, this.#probes)) === 'OK';
        }),
      ),
    );
  }

  async #untilCalm(): Promise<void> {
    const until = this.#history.answered + calmAnswers;
    await eventually(
      `${calmAnswers} answers`,
      recoveryMaxMs,
      () => this.#history.answered >= until,
    );
  }

  async #leader(): Promise<FaultNode> {
    const says = async (monitor: Redis, i: number) => {
      const role = (await Promise.race([monitor.role(), delay(500, null, { ref: false })])) ?? [];
      return role[0] === 'master' ? this.#nodes[i] : undefined;
    };
    const asked = this.#monitors.map((monitor, i) => says(monitor, i).catch(() => undefined));
    const leaders = (await Promise.all(asked)).filter((node) => node !== undefined);
    return leaders[0] ?? this.#dice.pick(this.#nodes);
  }
}

function faultOf(name: string): Fault {
  const fault = faults[name];
  if (fault === undefined) {
    throw new Error(`there is no fault "${name}"; there are: ${Object.keys(faults).join(', ')}`);
  }
  return fault;
}

/** Takes keys from `left` until there are none, each until its answer is known. */
async function readSome(client: Client, left: Key[]): Promise<void> {
  for (let key = left.pop(); key !== undefined; key = left.pop()) {
    const next = key;
    await eventually(`the last read of ${next.name}`, recoveryMaxMs, () => client.readLast(next));
  }
}
