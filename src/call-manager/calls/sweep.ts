/**
 * Finds what is left over after takeovers and lost messages. Something is an orphan when two
 * sweeps in a row saw it alone, so nothing that is just coming or going is hit.
 */
import type { DialogReplica } from '../../sip/rehydrate.ts';
import type { LiveCall } from './effects.ts';
import type { Call } from './types.ts';

export class Sweep {
  #suspects = new Set<string>();

  reset(): void {
    this.#suspects = new Set();
  }

  /** Calls and dialogs that were alone in the last sweep and still are. */
  run(
    calls: ReadonlyMap<string, LiveCall>,
    dialogs: DialogReplica,
  ): { calls: LiveCall[]; dialogIds: string[] } {
    const seen = new Set<string>();
    const orphans: { calls: LiveCall[]; dialogIds: string[] } = { calls: [], dialogIds: [] };
    const suspect = (key: string): boolean => {
      seen.add(key);
      return this.#suspects.has(key);
    };
    for (const [id, live] of calls) {
      if (isAlone(live.call, dialogs) && suspect(`call ${id}`)) {
        orphans.calls.push(live);
      }
    }
    for (const [dialogId, { callId, leg }] of dialogs.entries()) {
      const call = calls.get(callId)?.call;
      if ((call === undefined || isStranger(call, leg)) && suspect(`dialog ${dialogId}`)) {
        orphans.dialogIds.push(dialogId);
      }
    }
    this.#suspects = seen;
    return orphans;
  }
}

function isAlone(call: Call, dialogs: DialogReplica): boolean {
  if (call.state === 'answered' && (call.caller === 'connected' || call.caller === 'away')) {
    const winner = call.legs.find((leg) => leg.no === call.winner);
    const talks = winner?.dialogId !== null && winner !== undefined;
    return !(talks && dialogs.has(winner.dialogId ?? '') && dialogs.has(call.callerDialogId));
  }
  return call.caller === 'away';
}

/** A device that answered but did not win, and whose BYE got lost. */
function isStranger(call: Call, leg: number): boolean {
  return call.state === 'answered' && leg !== 0 && leg !== call.winner;
}
