/**
 * Which keys clients work on. A few at a time, so that clients meet on them, and each for a
 * limited number of calls, so that the checker can decide every key by itself in a short time.
 */
import type { Dice } from './dice.ts';
import type { Model } from './history.ts';

/** Calls of one key before another takes its place. */
const callsMax = 150;

/** Calls with unknown outcome: each may have happened anywhere, and doubles the work to check. */
const unknownMax = 6;

/** Keys of each model that are in use at the same time. */
const keysAtOnce: Record<Model, number> = { text: 3, hash: 2, queue: 2 };

export interface Key {
  name: string;
  model: Model;
  calls: number;
  unknown: number;
  /** A number no value of this key has had. */
  fresh: number;
  /** What was last seen, to compare and set against. */
  seen: string | null;
}

export class Keys {
  readonly #active: Key[] = [];
  readonly #all: Key[] = [];

  constructor() {
    for (const model of Object.keys(keysAtOnce) as Model[]) {
      for (let i = 0; i < keysAtOnce[model]; i += 1) {
        this.#active.push(this.#make(model));
      }
    }
  }

  /** Every key that was ever used. */
  get all(): readonly Key[] {
    return this.#all;
  }

  /** A key to work on; with `model`, one of this model. */
  pick(dice: Dice, model: Model | null = null): Key {
    const places = [...this.#active.keys()];
    const fitting = places.filter((at) => model === null || this.#active[at]?.model === model);
    const place = dice.pick(fitting);
    const key = this.#active[place] as Key;
    if (key.calls < callsMax && key.unknown < unknownMax) {
      key.calls += 1;
      return key;
    }
    const next = this.#make(key.model);
    this.#active[place] = next;
    next.calls += 1;
    return next;
  }

  #make(model: Model): Key {
    const name = `${model}:${this.#all.length}`;
    const key = { name, model, calls: 0, unknown: 0, fresh: 0, seen: null };
    this.#all.push(key);
    return key;
  }
}
