/**
 * One leg towards a device: an INVITE that may have to be cancelled before it has left. Acts
 * through drachtio-srf; the engine attaches a leg whose key it knows to the INVITE it has.
 */
import { limits } from '../../domain/limits.ts';
import { headersAgain } from '../../sip/challenged.ts';
import type { Credentials } from '../../sip/digest.ts';
import { allowedMethods } from '../../sip/rehydrate.ts';
import type { CallFailure, Dialog, SipRequest, SipResponse, SrfInstance } from '../../sip/srf.ts';

/** The offer has nothing that the device takes (RFC 3261 sections 21.4.26, 21.6.4). */
const notAcceptable = [488, 606];

export interface DeviceCall {
  uri: string;
  /** `callId/legNo`; null for an engine that would send it to the device. */
  key: string | null;
  /** From header. */
  from: string;
  /** To header. */
  to: string;
  /** Max-Forwards. */
  hops: number;
  /** Max-Breadth. */
  breadth: number;
  /** What it is offered; each for who refuses the one before with 488 or 606. */
  offers: readonly [string, ...string[]];
  /** After a takeover: the engine may have the INVITE already. */
  attach: boolean;
  /** More headers. */
  headers?: Record<string, string>;
  /** Where it is sent, whatever its URI says. */
  proxy?: string;
  /** For challenges. */
  credentials?: Credentials | null;
}

export interface DeviceEvents {
  /** The first provisional answer, even a 100. */
  heard(): void;
  progress(status: number, sdp: string | null, source: string): void;
  answered(dialog: Dialog): void;
  failed(status: number): void;
}

export class DeviceLeg {
  readonly #srf: SrfInstance;
  readonly #call: DeviceCall;
  readonly #events: DeviceEvents;
  #attempts: number;
  /** Which of the offers. */
  #offer = 0;
  #request: SipRequest | null = null;
  #over = false;
  #cancelled = false;
  #whenSent: (() => void)[] = [];
  /** Of an INVITE that answers a challenge. */
  #again: Record<string, string> = {};
  #challenges = 0;

  constructor(srf: SrfInstance, call: DeviceCall, events: DeviceEvents) {
    this.#srf = srf;
    this.#call = call;
    this.#events = events;
    this.#attempts = call.attach ? limits.attachAttempts : 1;
    this.#start();
  }

  #start(): void {
    const call = this.#call;
    const headers = {
      from: call.from,
      to: call.to,
      ...(call.key === null ? {} : { 'X-Leg': call.key }),
      'Max-Forwards': String(call.hops),
      'Max-Breadth': String(call.breadth),
      Allow: allowedMethods,
      ...call.headers,
      ...this.#again,
    };
    const progress = {
      cbRequest: (_error: unknown, request?: SipRequest) => this.#sent(request ?? null),
      cbProvisional: ({ status, body, source_address }: SipResponse) => {
        this.#events.heard();
        if (!this.#over && status > 100) {
          this.#events.progress(status, body ? body : null, source_address);
        }
      },
    };
    try {
      const proxy = call.proxy === undefined ? {} : { proxy: call.proxy };
      const localSdp = call.offers[this.#offer] ?? call.offers[0];
      const options = { headers, localSdp, ...proxy };
      this.#srf.createUAC(call.uri, options, progress, (error, dialog) =>
        this.#finish(error, dialog),
      );
    } catch (error) {
      // Thrown when there is no connection to the engine; told later, as any failure.
      setImmediate(() => this.#finish({ message: String(error) }));
    }
  }

  #finish(error: CallFailure | null, dialog?: Dialog): void {
    if (this.#over) {
      return;
    }
    this.#attempts -= 1;
    if (error !== null && error.status === undefined && this.#attempts > 0) {
      // The engine refused, no phone did: the INVITE it keeps of this leg has not left yet.
      setTimeout(() => this.#start(), limits.attachRetryMs);
      return;
    }
    if (error !== null && this.#answersChallenge(error)) {
      this.#request = null;
      this.#start();
      return;
    }
    if (this.#hasOtherOffer(error?.status)) {
      this.#offer += 1;
      this.#request = null;
      this.#again = {};
      this.#challenges = 0;
      this.#start();
      return;
    }
    this.#over = true;
    this.#release();
    if (error === null && dialog !== undefined) {
      this.#events.answered(dialog);
    } else {
      this.#events.failed(error?.status ?? 500);
    }
  }

  /** Whether what was offered is refused, and there is more to offer. */
  #hasOtherOffer(status = 0): boolean {
    const isLeft = this.#offer + 1 < this.#call.offers.length;
    return notAcceptable.includes(status) && isLeft && !this.#cancelled;
  }

  /** Whether the INVITE goes once more, with our password. */
  #answersChallenge({ status, res }: CallFailure): boolean {
    const { credentials } = this.#call;
    const isChallenge = status === 401 || status === 407;
    const request = this.#request;
    if (!isChallenge || !credentials || !res || request === null || this.#cancelled) {
      return false;
    }
    const again = headersAgain(request, res, credentials, this.#challenges);
    this.#challenges += 1;
    this.#again = again ?? {};
    return again !== null;
  }

  /** Stops trying to attach: another node leads. */
  abandon(): void {
    this.#attempts = 0;
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
    if (request !== null) {
      this.#request = request;
      this.#release();
    }
  }

  /** Lets a CANCEL go that came before its INVITE was sent. */
  #release(): void {
    const waiting = this.#whenSent;
    this.#whenSent = [];
    for (const send of waiting) {
      send();
    }
  }
}
