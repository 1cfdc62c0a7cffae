/**
 * The floating addresses of a media server. In the store `media-address:{address}` names who
 * may have one: `name/life`, where each start of a server is another life.
 *
 * Invariant: an address is here only while the store names this life. Changes of owner are
 * conditional, so of two who want an address one gets it. Call control gives it to another
 * server only when it has seen that the process is gone (`src/call-manager/media-links.ts`). A
 * server that is merely cut off from the store therefore keeps its addresses, and its calls
 * their audio.
 */
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import { addressKey, isOwnedBy, ownerOf } from '../domain/media-address.ts';
import type { HeldAddress } from '../native/index.ts';

export interface FloatingOptions {
  interface?: string | undefined;
  addresses: readonly string[];
  group: readonly string[];
}

export interface FloatingSurroundings {
  options: FloatingOptions;
  name: string;
  /** This start of the server. */
  life: string;
  engine: {
    activate(address: string): void;
    deactivate(address: string): boolean;
    held(): HeldAddress[];
  };
  /** Runs one command of the store. */
  execute(command: readonly string[]): Promise<unknown>;
  log: Log;
}

export class FloatingKeeper {
  readonly #here: FloatingSurroundings;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #stopped = false;
  /** Looks in a row at which an address was given to us, and did not come. */
  readonly #unused = new Map<string, number>();

  constructor(here: FloatingSurroundings) {
    this.#here = here;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), limits.floatingLookMs);
    this.look();
  }

  /** The addresses stay ours in the store: who sees us go gives them to another server. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer ?? undefined);
    await this.#looking;
  }

  /** Compares what is here with what the store says; one look at a time. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => {
        // Without the store nobody can take an address from us either.
        this.#here.log.debug({ error: String(error) }, 'floating addresses were not looked at');
      })
      .finally(() => {
        this.#looking = null;
      });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { options, engine, execute } = this.#here;
    const held = new Map(engine.held().map(({ address, calls }) => [address, calls]));
    const owners = await execute(['MGET', ...options.group.map(addressKey)]);
    for (const [i, address] of options.group.entries()) {
      const owner: unknown = Array.isArray(owners) ? owners[i] : null;
      const calls = held.get(address) ?? null;
      if (options.addresses.includes(address)) {
        await this.#keep(address, owner, calls !== null);
      } else {
        await this.#keepForOther(address, owner, calls);
      }
    }
  }

  get #me(): string {
    return ownerOf(this.#here.name, this.#here.life);
  }

  #isOurs(owner: unknown): owner is string {
    return typeof owner === 'string' && isOwnedBy(owner, this.#here.name);
  }

  /** One of ours: taken when nobody has it, or an earlier life of ours did. */
  async #keep(address: string, owner: unknown, isHere: boolean): Promise<void> {
    if (owner === this.#me) {
      this.#take(address, isHere);
    } else if (isHere) {
      this.#giveUp(address, owner);
    } else if (owner === null || this.#isOurs(owner)) {
      // Our ports are bound, so no earlier life of ours has a process any more.
      const condition = owner === null ? ['NX'] : ['IFEQ', owner];
      const { execute } = this.#here;
      const key = addressKey(address);
      await execute(['SET', key, this.#me, ...condition]);
      if ((await execute(['GET', key])) === this.#me) {
        this.#take(address, isHere);
      }
    }
  }

  #take(address: string, isHere: boolean): void {
    if (!(isHere || this.#stopped)) {
      this.#here.engine.activate(address);
      this.#here.log.info({ address }, 'floating address is here');
    }
  }

  #giveUp(address: string, owner: unknown): void {
    this.#here.engine.deactivate(address);
    this.#here.log.warn({ address, owner }, 'floating address belongs to another server, given up');
  }

  /** One that came with calls of a server that died: given back when the last of them has ended. */
  async #keepForOther(address: string, owner: unknown, calls: number | null): Promise<void> {
    if (calls !== null && owner !== this.#me) {
      this.#giveUp(address, owner);
    } else if (calls === 0) {
      this.#here.engine.deactivate(address);
      await this.#free(address);
    } else if (calls === null && this.#isOurs(owner)) {
      await this.#freeUnused(address, owner);
    }
  }

  /** It is ours by name alone: who gave it to us died meanwhile, or we did. */
  async #freeUnused(address: string, owner: string): Promise<void> {
    const looks = (this.#unused.get(address) ?? 0) + 1;
    this.#unused.set(address, looks);
    if (owner !== this.#me || looks >= limits.floatingLooksUnused) {
      this.#unused.delete(address);
      await this.#free(address);
    }
  }

  async #free(address: string): Promise<void> {
    await this.#here.execute(['DEL', addressKey(address)]);
    this.#here.log.info({ address }, 'floating address is free for its server again');
  }
}
