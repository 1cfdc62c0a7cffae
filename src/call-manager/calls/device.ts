/**
 * One leg towards a device: an INVITE that may have to be cancelled before it has left. Acts
 * through drachtio-srf; the engine attaches a leg whose key it knows to the INVITE it has.
 */
import { limits } from '../../domain/limits.ts';
import { allowedMethods } from '../../sip/rehydrate.ts';
import type { CallFailure, Dialog, SipRequest, SrfInstance } from '../../sip/srf.ts';

export interface DeviceCall {
  uri: string;
  /** `callId/legNo`. */
  key: string;
  /** From header. */
  from: string;
  /** To header. */
  to: string;
  /** Max-Forwards. */
  hops: number;
  sdp: string;
}

export interface DeviceEvents {
  progress(status: number, sdp: string | null): void;
  answered(dialog: Dialog): void;
  failed(status: number): void;
}

export class DeviceLeg {
  #request: SipRequest | null = null;
  #over = false;
  #cancelled = false;
  #whenSent: (() => void)[] = [];

  constructor(srf: SrfInstance, call: DeviceCall, events: DeviceEvents) {
    const headers = {
      from: call.from,
      to: call.to,
      'X-Leg': call.key,
      'Max-Forwards': String(call.hops),
      Allow: allowedMethods,
    };
    const finish = (error: CallFailure | null, dialog?: Dialog) => {
      if (this.#over) {
        return;
      }
      this.#over = true;
      this.#sent(null);
      if (error === null && dialog !== undefined) {
        events.answered(dialog);
      } else {
        events.failed(error?.status ?? 500);
      }
    };
    const progress = {
      cbRequest: (_error: unknown, request?: SipRequest) => this.#sent(request ?? null),
      cbProvisional: (response: { status: number; body?: string }) => {
        if (!this.#over && response.status > 100) {
          events.progress(response.status, response.body ? response.body : null);
        }
      },
    };
    try {
      srf.createUAC(call.uri, { headers, localSdp: call.sdp }, progress, finish);
    } catch (error) {
      // Thrown when there is no connection to the engine; told later, as any failure.
      setImmediate(() => finish({ status: 500, message: String(error) }));
    }
  }

  /** Resolves when the engine has taken the CANCEL, or has nothing to cancel any more. */
  cancel(): Promise<void> {
    if (this.#over || this.#cancelled) {
      return Promise.resolve();
    }
    this.#cancelled = true;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limits.cancelWaitMs);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      const send = () => {
        if (this.#over || this.#request === null) {
          done();
        } else {
          this.#request.cancel({}, done);
        }
      };
      if (this.#request === null) {
        this.#whenSent.push(send);
      } else {
        send();
      }
    });
  }

  #sent(request: SipRequest | null): void {
    this.#request ??= request;
    const waiting = this.#whenSent;
    this.#whenSent = [];
    for (const send of waiting) {
      send();
    }
  }
}
