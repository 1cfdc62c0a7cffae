/**
 * The dialogs of an engine elsewhere, stored by call control: `dialog:{id}` has what it takes to
 * build a `Srf.Dialog`. Written right after the call's own record, in the same entry mostly; read
 * by every node, so that the next leader can hang up what it takes over.
 */
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import type { DialogView, SipEvent, Store, StoreEvent } from '../../native/index.ts';
import { type DialogKeeper, dialogKey } from '../../sip/rehydrate.ts';

export class DialogRecords implements DialogKeeper {
  readonly #store: Store;
  readonly #log: Log;
  readonly #known = new Set<string>();

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  began(view: DialogView): void {
    this.#write(['SET', dialogKey(view.id), JSON.stringify(view)]);
  }

  ended(dialogId: string): void {
    this.#write(['DEL', dialogKey(dialogId)]);
  }

  /** What our own engine would tell of the same changes. */
  eventsOf(events: readonly StoreEvent[]): SipEvent[] {
    return events.flatMap((event): SipEvent[] => {
      if (event.type === 'reset') {
        const gone = [...this.#known];
        this.#known.clear();
        return gone.map((id) => ({ type: 'dialogRemoved', id }));
      }
      const changes = event.type === 'changed' ? event.changes : [];
      return changes.flatMap(({ key, value }) => this.#eventOf(key, value) ?? []);
    });
  }

  #eventOf(key: string, value: string | null): SipEvent | null {
    const id = key.slice(dialogKey('').length);
    if (!key.startsWith(dialogKey(''))) {
      return null;
    }
    if (value === null) {
      this.#known.delete(id);
      return { type: 'dialogRemoved', id };
    }
    const view = parseView(value);
    if (view === null) {
      this.#log.error({ key }, 'dialog record of another version is left alone');
      return null;
    }
    this.#known.add(id);
    return { type: 'dialogConfirmed', dialog: view };
  }

  #write(command: readonly string[]): void {
    const key = command[1];
    this.#store
      .transactionInOrder([command], limits.recordPatienceMs)
      .catch((error: unknown) => this.#log.warn({ error, key }, 'a dialog was not committed'));
  }
}

function parseView(text: string): DialogView | null {
  try {
    const value = JSON.parse(text) as Partial<DialogView> | null;
    const isView = typeof value?.id === 'string' && typeof value.request === 'string';
    return isView ? (value as DialogView) : null;
  } catch (error) {
    if (error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}
