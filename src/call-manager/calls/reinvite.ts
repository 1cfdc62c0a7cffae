/**
 * Our re-INVITE towards a party. Not `Dialog.modify`: that one never lets another through after
 * a refusal (its counter of running re-INVITEs only goes down on a 200).
 */

import { requestInDialog } from '../../sip/challenged.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { Dialog } from '../../sip/srf.ts';
import { asOffer, keysOf, profileOf, withoutKeys } from './encryption.ts';

export type ReinviteOutcome =
  | { type: 'modifyAccepted'; sdp: string }
  | { type: 'modifyRefused'; status: number; at: number };

/** Offers `description`; `done` gets the final answer, once. The ACK is drachtio-srf's business. */
export function sendReinvite(
  dialog: Dialog | undefined,
  description: string,
  { now, credentials }: { now: () => number; credentials: Credentials | null },
  done: (outcome: ReinviteOutcome) => void,
): void {
  if (dialog?.connected !== true) {
    done({ type: 'modifyRefused', status: 481, at: now() });
    return;
  }
  // A party that does without keys is not asked again.
  const wantsKeys = profileOf(description)?.includes('/SAVP') || keysOf(dialog.remote.sdp).length;
  const sdp = asOffer(wantsKeys ? description : withoutKeys(description));
  const contact = dialog.local.contact;
  const headers: Record<string, string> = contact === undefined ? {} : { Contact: contact };
  const options = { method: 'INVITE', headers, body: sdp };
  requestInDialog(dialog, options, credentials, (error, response) => {
    if (error) {
      done({ type: 'modifyRefused', status: error.code === 'ENODIALOG' ? 481 : 500, at: now() });
    } else if (response.status >= 300) {
      done({ type: 'modifyRefused', status: response.status, at: now() });
    } else if (response.status >= 200) {
      dialog.local.sdp = sdp;
      dialog.remote.sdp = response.body ?? '';
      done({ type: 'modifyAccepted', sdp: response.body ?? '' });
    }
  });
}
