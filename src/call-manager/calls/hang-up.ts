/** Our BYE. */
import type { Log } from '../../domain/log.ts';
import { requestInDialog } from '../../sip/challenged.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { DialogReplica } from '../../sip/rehydrate.ts';
import type { Dialog } from '../../sip/srf.ts';

/** Sends a BYE and does not wait: the engine repeats it, also from another node. */
export function hangUp(
  dialogs: DialogReplica,
  dialog: Dialog,
  log: Log,
  credentials: Credentials | null = null,
): void {
  if (!dialog.connected) {
    return;
  }
  dialog.connected = false;
  const { id } = dialog;
  const done = (error: unknown) => {
    dialogs.hungUp(id);
    if (error) {
      log.debug({ error, dialog: id }, 'BYE was not taken');
    }
  };
  try {
    if (credentials === null) {
      dialog.destroy({}, done);
    } else {
      requestInDialog(dialog, { method: 'BYE' }, credentials, done);
    }
  } catch (error) {
    log.warn({ error, dialog: id }, 'BYE could not be sent');
    dialogs.hungUp(id);
  }
}
