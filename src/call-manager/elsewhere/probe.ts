/**
 * Whether the parties of calls are still there: each dialog is asked with OPTIONS, once a minute,
 * and at once when it was taken over. An engine elsewhere answers a BYE that comes while nobody is
 * connected to it by itself, and tells nobody later; nor does it end calls that are not refreshed.
 *
 * Owner of: when each dialog is asked next, on the leader only.
 */
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import type { DialogOwner, DialogReplica } from '../../sip/rehydrate.ts';

/** The other party says that it knows of no call, or the engine does. */
const gone = 481;

interface Asked {
  nextAt: number;
  misses: number;
}

export interface ProbeOptions {
  dialogs: DialogReplica;
  log: Log;
  /** As of a BYE that the engine sent. */
  onGone(owner: DialogOwner, dialogId: string): void;
}

export class Probe {
  readonly counts = { asked: 0, missed: 0, gone: 0 };
  readonly #options: ProbeOptions;
  #asked = new Map<string, Asked>();

  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /** This node begins to lead: nobody knows what became of its dialogs. */
  lead(at: number): void {
    const { dialogs } = this.#options;
    const ids = [...dialogs.entries()].map(([id]) => id);
    this.#asked = new Map(ids.map((id) => [id, { nextAt: at, misses: 0 }]));
  }

  tick(at: number): void {
    const { dialogs } = this.#options;
    for (const id of this.#asked.keys()) {
      if (!dialogs.has(id)) {
        this.#asked.delete(id);
      }
    }
    let left: number = limits.probesPerTick;
    for (const [id, owner] of dialogs.entries()) {
      const asked = this.#asked.get(id);
      if (asked === undefined) {
        this.#asked.set(id, { nextAt: at + limits.probeEveryMs, misses: 0 });
      } else if (asked.nextAt <= at && left > 0) {
        left -= 1;
        asked.nextAt = at + limits.probeEveryMs;
        this.#ask(id, owner, asked);
      }
    }
  }

  #ask(id: string, owner: DialogOwner, asked: Asked): void {
    const { dialogs } = this.#options;
    const dialog = dialogs.find(id);
    if (dialog?.connected !== true) {
      return;
    }
    this.counts.asked += 1;
    dialog.request({ method: 'OPTIONS' }, (error, response) => {
      if (this.#asked.get(id) !== asked) {
        return;
      }
      const isGone = error ? error.code === 'ENODIALOG' : response.status === gone;
      const isMissed = error !== null || response.status === 408;
      asked.misses = isMissed ? asked.misses + 1 : 0;
      this.counts.missed += isMissed ? 1 : 0;
      if (isGone || asked.misses >= limits.probeMissesMax) {
        this.#end(id, owner);
      }
    });
  }

  #end(id: string, owner: DialogOwner): void {
    const { dialogs, log, onGone } = this.#options;
    const dialog = dialogs.find(id);
    log.info({ call: owner.callId, leg: owner.leg, dialog: id }, 'the party of a call is gone');
    this.counts.gone += 1;
    this.#asked.delete(id);
    if (dialog !== undefined) {
      dialog.connected = false;
    }
    dialogs.drop(dialog);
    onGone(owner, id);
  }
}
