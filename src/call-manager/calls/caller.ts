/** The caller's side of a call: one INVITE to be answered once. Acts through drachtio-srf. */
import { errorTable } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import { allowedMethods } from '../../sip/rehydrate.ts';
import type { Dialog, SipRequest, SipResponse, SrfInstance } from '../../sip/srf.ts';
import { sendableStatus } from '../../sip/status.ts';

export class CallerInvite {
  readonly #srf: SrfInstance;
  readonly #req: SipRequest;
  readonly #res: SipResponse;

  constructor(srf: SrfInstance, req: SipRequest, res: SipResponse) {
    this.#srf = srf;
    this.#req = req;
    this.#res = res;
  }

  /** The caller's offer. */
  get sdp(): string {
    return this.#req.body ?? '';
  }

  onCancel(listener: () => void): void {
    this.#req.on('cancel', listener);
  }

  ring(status: number, sdp: string | null): void {
    if (!this.#res.finalResponseSent) {
      this.#res.send(sendableStatus(status), sdp === null ? {} : withSdp(sdp));
    }
  }

  /** Sends the 200; `done` runs before the next message is read, so no BYE can slip past. */
  answer(sdp: string, done: (dialog: Dialog | null) => void): void {
    const options = { localSdp: sdp, headers: { Allow: allowedMethods } };
    this.#srf.createUAS(this.#req, this.#res, options, (error, dialog) => {
      done(error || dialog === undefined ? null : dialog);
    });
  }

  reject(status: number): void {
    if (!this.#res.finalResponseSent) {
      rejectInvite(this.#res, status);
    }
  }
}

/** Refuses an INVITE, with the headers the status asks for. */
export function rejectInvite(res: SipResponse, status: number): void {
  const headers: Record<string, string> = {};
  if (status === 503) {
    headers['Retry-After'] = String(limits.retryAfterS);
  }
  if (status === errorTable.PBX_EXTENSION_REQUIRED.sipStatus) {
    headers.Unsupported = res.req.get('require') ?? '';
  }
  res.send(sendableStatus(status), { headers });
}

export function withSdp(sdp: string) {
  return { body: sdp, headers: { 'Content-Type': 'application/sdp' } };
}
