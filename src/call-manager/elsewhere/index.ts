/**
 * What call control does by itself when the SIP engine is elsewhere: a drachtio-server, or
 * `raftpbx sip` on another machine, that knows nothing of the cluster.
 *
 * # Layout
 * - `login.ts`, with `nonces.ts`, `credentials.ts`, `guard.ts`, `homes.ts`: who asks
 * - `registrar.ts`, with `contacts.ts`, `bindings.ts`: where users can be reached
 * - `dialog-records.ts`, `probe.ts`: dialogs for the next leader, and whether they live
 *
 * Only the leader is connected: such an engine deals calls out to all who are.
 */
import type { Log } from '../../domain/log.ts';
import { registrationKey } from '../../domain/registration.ts';
import { isInside } from '../../domain/trunk.ts';
import type { SipEvent, Store, StoreEvent } from '../../native/index.ts';
import type { DialogHandler, DialogReplica } from '../../sip/rehydrate.ts';
import { lineOf, type SipRequest, type SipResponse, type SrfInstance } from '../../sip/srf.ts';
import { registrationOf } from '../registrations.ts';
import type { TrunkBook } from '../trunks/book.ts';
import { type Rules, routeTo, type StoredBinding } from './bindings.ts';
import { DialogRecords } from './dialog-records.ts';
import { Homes } from './homes.ts';
import { Login, proxyDoor } from './login.ts';
import { Probe } from './probe.ts';
import { Registrar } from './registrar.ts';

/** What the engine in the process would be given for this. */
export interface ElsewhereOptions {
  registrar: Rules & {
    serviceRoutes: readonly string[];
    digest: 'md5' | 'sha-256-and-md5';
    neverBanned: readonly string[];
  };
}

interface Surroundings {
  realm: string;
  clusterSecret: string;
  store: Store;
  trunks: TrunkBook;
  log: Log;
  now(): number;
}

export class EngineElsewhere {
  readonly records: DialogRecords;
  readonly #here: Surroundings;
  readonly #homes = new Homes();
  readonly #login: Login;
  readonly #registrar: Registrar;
  /** Callers that have shown their password. */
  readonly #users = new WeakMap<SipRequest, string>();
  #probe: Probe | null = null;
  #srf: SrfInstance | null = null;

  constructor({ registrar }: ElsewhereOptions, here: Surroundings) {
    const { store, log, now, realm, clusterSecret } = here;
    const { serviceRoutes, digest, neverBanned, ...rules } = registrar;
    this.#here = here;
    this.records = new DialogRecords(store, log);
    const homes = this.#homes;
    const by = { store, log, now };
    this.#login = new Login({ ...by, realm, clusterSecret, digest, neverBanned, homes });
    this.#registrar = new Registrar({ ...by, rules, serviceRoutes, login: this.#login });
  }

  /** Call control is made: begins to read what the store has. */
  attach(
    srf: SrfInstance,
    dialogs: DialogReplica,
    handler: DialogHandler,
    tell: (events: SipEvent[]) => void,
  ): void {
    const { store, log } = this.#here;
    this.#srf = srf;
    this.#probe = new Probe({
      ...{ dialogs, log },
      onGone: (owner, dialogId) => handler.onBye(owner, dialogId, true),
    });
    store.watch(['dialog:', registrationKey('')], (events: StoreEvent[]) => {
      this.#homes.apply(events);
      tell(this.records.eventsOf(events));
    });
  }

  lead(): void {
    this.#login.guard.reset();
    this.#probe?.lead(this.#here.now());
  }

  tick(): void {
    this.#probe?.tick(this.#here.now());
  }

  onRegister(req: SipRequest, res: SipResponse): void {
    this.#registrar.onRegister(req, res);
  }

  /** A phone or a provider asks whether anybody is here: not which users there are. */
  onOptions(res: SipResponse): void {
    res.send(200, { headers: { Accept: 'application/sdp' } });
  }

  /**
   * Whether a call may go on to call control. A trunk's calls come from its networks and show no
   * password, for a provider knows none of ours; everybody else is challenged.
   */
  admits(req: SipRequest, res: SipResponse): boolean {
    if (!req.has(proxyDoor.answer) && this.#isTrunk(req.source_address)) {
      return true;
    }
    const user = this.#login.check(proxyDoor, req, res);
    if (user !== null) {
      this.#users.set(req, user);
    }
    return user !== null;
  }

  /** Who was found to call; null: somebody on a trunk. What the message says of it is no proof. */
  userOf(req: SipRequest): string | null {
    return this.#users.get(req) ?? null;
  }

  /** A route URL for a device, or null where the engine finds the way by itself. */
  routeTo(user: string, contact: string): string | null {
    const registration = registrationOf(this.#here.store, user);
    const binding = registration?.bindings.find((one) => one.contact === contact);
    return binding === undefined ? null : routeTo(binding as StoredBinding);
  }

  /** Refuses an INVITE that the last leader was told of; nothing happens when nobody has it. */
  refuseUnseen(transactionId: string): void {
    const line = lineOf(this.#srf?.app.client);
    if (line !== null) {
      const refusal = 'SIP/2.0 480 Temporarily Unavailable\r\nContent-Length: 0\r\n\r\n';
      line.agent.sendMessage(line.socket, refusal, { stackTxnId: transactionId });
    }
  }

  metrics(): string {
    const totals: [string, Record<string, number>][] = [
      ['raftpbx_elsewhere_logins_total', this.#login.counts],
      ['raftpbx_elsewhere_guard_total', this.#login.guard.counts],
      ['raftpbx_elsewhere_registers_total', this.#registrar.counts],
      ['raftpbx_elsewhere_probes_total', this.#probe?.counts ?? {}],
    ];
    const lines = totals.flatMap(([name, counts]) => [
      `# TYPE ${name} counter`,
      ...Object.entries(counts).map(([what, value]) => `${name}{outcome="${what}"} ${value}`),
    ]);
    return `${lines.join('\n')}\n`;
  }

  #isTrunk(source: string): boolean {
    return this.#here.trunks
      .known()
      .some(({ trunk, networks }) => trunk.enabled && isInside(networks, source));
  }
}
