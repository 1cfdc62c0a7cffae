/**
 * The registrar for phones on an engine elsewhere. It keeps `registration:{user}` as our own engine
 * does, so that whoever reads it need not know which of them wrote. The 200 waits for the log.
 *
 * Owner of: which users have a REGISTER under way; those of one user are taken in turn.
 */
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import { registrationKey } from '../../domain/registration.ts';
import type { Command, Store } from '../../native/index.ts';
import { type SipRequest, type SipResponse, Srf } from '../../sip/srf.ts';
import { registrationOf } from '../registrations.ts';
import { addressIn } from '../trunks/incoming.ts';
import {
  contactHeader,
  type Outcome,
  type Rules,
  register,
  type StoredBinding,
  type Wish,
} from './bindings.ts';
import { contactsOf, lists, secondsOf, splitList } from './contacts.ts';
import { type Login, registrarDoor } from './login.ts';

export interface RegistrarOptions {
  rules: Rules;
  /** URIs of the Service-Route (RFC 3608). */
  serviceRoutes: readonly string[];
  login: Login;
  store: Store;
  log: Log;
  now(): number;
}

export class Registrar {
  readonly counts = { kept: 0, refused: 0, full: 0, failed: 0 };
  readonly #options: RegistrarOptions;
  /** The last REGISTER of each user that has one under way. */
  readonly #busy = new Map<string, Promise<void>>();
  #waiting = 0;

  constructor(options: RegistrarOptions) {
    this.#options = options;
  }

  /** A REGISTER from outside; answers it. */
  onRegister(req: SipRequest, res: SipResponse): void {
    const unknown = splitList(req.get('Require') ?? '').filter((tag) => tag !== 'path');
    if (unknown.length > 0) {
      this.#refuse(res, 420, { Unsupported: unknown.join(', ') });
      return;
    }
    const user = this.#options.login.check(registrarDoor, req, res);
    if (user === null) {
      return;
    }
    const wish = this.#wishOf(user, req, res);
    if (wish === null) {
      return;
    }
    if (this.#waiting >= limits.registersMax) {
      this.counts.full += 1;
      askAgain(res);
      return;
    }
    this.#waiting += 1;
    const turn = (this.#busy.get(user) ?? Promise.resolve())
      .then(() => this.#register(wish, req, res))
      .finally(() => {
        this.#waiting -= 1;
        if (this.#busy.get(user) === turn) {
          this.#busy.delete(user);
        }
      });
    this.#busy.set(user, turn);
  }

  /** Reads it; null when it has been refused. */
  #wishOf(user: string, req: SipRequest, res: SipResponse): Wish | null {
    // A user registers its own address of record only.
    if (Srf.parseUri(addressIn(req.get('To') ?? '').uri)?.user !== user) {
      this.#refuse(res, 403);
      return null;
    }
    const expiresS = secondsOf(req.get('Expires'));
    const contacts = contactsOf(req.get('Contact'), expiresS);
    const cseq = Number.parseInt(req.get('CSeq') ?? '', 10);
    const callId = req.get('Call-ID') ?? '';
    const path = splitList(req.get('Path') ?? '');
    // One proxy can be told to the engine as the next hop, more cannot.
    if (contacts.type === 'bad' || path.length > 1 || callId === '' || !(cseq >= 0)) {
      this.#refuse(res, 400);
      return null;
    }
    // RFC 3327 section 5.3: a device that does not know of Path may not bear it.
    if (path.length > 0 && !lists(req.get('Supported'), 'path')) {
      this.#refuse(res, 420, { Unsupported: 'path' });
      return null;
    }
    const transport = req.protocol || 'udp';
    return {
      ...{ user, contacts, expiresS, callId, cseq, path, nowMs: this.#options.now() },
      userAgent: req.get('User-Agent') ?? null,
      received: `${transport}/${bracketed(`${req.source_address}:${req.source_port}`)}`,
      local: `${transport}/${bracketed(req.receivedOn ?? '')}`,
    };
  }

  /** Never rejects: whoever is next would not have its turn. */
  async #register(wish: Wish, req: SipRequest, res: SipResponse): Promise<void> {
    const { store, rules, log, now } = this.#options;
    const key = registrationKey(wish.user);
    try {
      const outcome = register(registrationOf(store, wish.user), wish, rules);
      if (outcome.type === 'changed') {
        const command = commandOf(key, wish.user, outcome.bindings);
        await store.transactionInOrder([command], 0);
      }
      this.#answer(outcome, req, res, now());
    } catch (error) {
      this.counts.failed += 1;
      log.error({ error, user: wish.user }, 'a registration was not committed');
      askAgain(res);
    }
  }

  #answer(outcome: Outcome, req: SipRequest, res: SipResponse, at: number): void {
    const { rules, serviceRoutes } = this.#options;
    if (outcome.type === 'tooBrief') {
      this.#refuse(res, 423, { 'Min-Expires': String(rules.minExpiresS) });
    } else if (outcome.type === 'refused') {
      this.#refuse(res, outcome.status, {}, outcome.reason);
    } else {
      this.counts.kept += 1;
      const { bindings } = outcome;
      const path = req.get('Path');
      const routes = serviceRoutes.map((route) => `<${route}>`).join(', ');
      res.send(200, {
        headers: {
          ...(bindings.length === 0 ? {} : { Contact: contactHeader(bindings, at) }),
          ...(path === undefined ? {} : { Path: path }),
          ...(routes === '' ? {} : { 'Service-Route': routes }),
          Supported: 'path',
        },
      });
    }
  }

  #refuse(res: SipResponse, status: number, headers: Record<string, string> = {}, reason = '') {
    this.counts.refused += 1;
    if (reason === '') {
      res.send(status, { headers });
    } else {
      res.send(status, reason, { headers });
    }
  }
}

/** The device is to try it again later. */
function askAgain(res: SipResponse): void {
  res.send(503, { headers: { 'Retry-After': String(limits.retryAfterS) } });
}

/** `host:port` with an IPv6 host in brackets, as the protocol does not write it. */
function bracketed(text: string): string {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, Math.max(colon, 0));
  return host.includes(':') && !host.startsWith('[') ? `[${host}]${text.slice(colon)}` : text;
}

function commandOf(key: string, user: string, bindings: readonly StoredBinding[]): Command {
  const last = Math.max(...bindings.map((one) => one.expiresAt));
  return bindings.length === 0
    ? ['DEL', key]
    : ['SET', key, JSON.stringify({ user, bindings }), 'PXAT', last];
}
