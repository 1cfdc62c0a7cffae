/**
 * The Call Manager role: call control on the leader, a warm copy of it on the others.
 *
 * # Layout
 * - `calls/`: the calls; `routing/`: where they go
 * - `trunks/`: providers, and our registrations there
 * - `directory.ts`: users and devices, `media-control.ts`: media servers
 * - `api.ts`: what others may ask, `queries.ts`: the answers
 * - `README.md`: what is kept when this server dies
 *
 * Order at a takeover: the engine leads first (in the addon), then this node's call control,
 * as soon as it is connected to the engine; an INVITE that is faster pulls it along.
 */
import { ServerLease, ServerWatch } from '../cluster/index.ts';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import { mediaOwner, sealingKey } from '../domain/sealing.ts';
import type { RoleHandle } from '../domain/server.ts';
import type { SipEngine, Store, StoreEvent } from '../native/index.ts';
import { connectEngine, type SipConnection } from '../sip/connection.ts';
import type { SipEventFeed } from '../sip/event-feed.ts';
import { DialogReplica } from '../sip/rehydrate.ts';
import type { CallManagerApi } from './api.ts';
import { CallRegistry } from './calls/index.ts';
import { Directory } from './directory.ts';
import { Leftovers } from './leftovers.ts';
import { type ChooseServer, MediaControl } from './media-control.ts';
import { Push } from './push.ts';
import { Queries } from './queries.ts';
import { Reachability } from './reachability.ts';
import { TrunkAdmin } from './trunks/admin.ts';
import { TrunkBook } from './trunks/book.ts';
import { TrunkHealth } from './trunks/health.ts';
import { TrunkRegistrar } from './trunks/registrar.ts';

export type * from './api.ts';

export interface CallManagerContext {
  name: string;
  log: Log;
  /** SIP domain and digest realm of the users. */
  domain: string;
  /** Address of this server, for its lease. */
  address: string;
  /** Every role this server carries. */
  roles: readonly string[];
  version: string;
  /** Every Call Manager: the store knows numbers, people know names. */
  peers: readonly { id: number; name: string }[];
  vip: readonly string[];
  store: Store;
  engine: SipEngine;
  /** The feed whose `push` was given to `SipEngine.start`. */
  sipEvents: SipEventFeed;
  drachtio: { host: string; port: number; secret: string };
  /** The same on every node: seals what the log must not show. */
  clusterSecret: string;
  /** The push service that wakes devices, and how long a call waits for them. */
  push?: { url: string; waitMs: number } | null;
  /** File of the media servers that a party on hold hears; none unless given. */
  musicOnHold?: string | null;
  /** How often a trunk is asked whether it is there; never unless given. */
  trunkOptionsMs?: number;
  /** Time to ring before a call counts as not answered; 60 s unless given. */
  answerTimeoutMs?: number;
}

export interface CallManagerHandle extends RoleHandle {
  api: CallManagerApi;
}

/** Resolves when call control is connected to the engine. */
export async function startCallManager(context: CallManagerContext): Promise<CallManagerHandle> {
  const manager = new CallManager(context);
  await manager.start();
  return manager;
}

class CallManager implements CallManagerHandle {
  readonly api: CallManagerApi;
  readonly #context: CallManagerContext;
  readonly #log: Log;
  readonly #servers: ServerWatch;
  readonly #media: MediaControl;
  readonly #leftovers: Leftovers;
  readonly #lease: ServerLease | null;
  readonly #connection: SipConnection;
  readonly #dialogs: DialogReplica;
  readonly #registry: CallRegistry;
  readonly #registrar: TrunkRegistrar;
  readonly #health: TrunkHealth;
  readonly #reachability: Reachability;
  readonly #push: Push;
  readonly #connected = Promise.withResolvers<void>();
  #timers: NodeJS.Timeout[] = [];
  /** The term this node leads in, whether or not call control has followed yet. */
  #term: number | null = null;

  constructor(context: CallManagerContext) {
    const { store, log, domain } = context;
    const now = Date.now;
    this.#context = context;
    this.#log = log;
    this.#servers = new ServerWatch(store, now);
    this.#media = this.#makeMedia();
    this.#leftovers = this.#makeLeftovers();
    this.#connection = connectEngine({
      ...context.drachtio,
      log,
      onInvite: (req, res) => this.#registry.onInvite(req, res),
      onUp: () => this.#up(),
      onDown: () => this.#down(),
    });
    const { srf } = this.#connection;
    this.#dialogs = new DialogReplica(
      srf,
      {
        onBye: (...args) => this.#registry.onBye(...args),
        onModify: (...args) => this.#registry.onModify(...args),
        onPass: (...args) => this.#registry.onPass(...args),
      },
      log,
    );
    this.#reachability = new Reachability();
    const directory = new Directory(store, (user, contact) =>
      this.#reachability.isSilent(user, contact),
    );
    this.#push = new Push({
      url: context.push?.url ?? null,
      waitMs: context.push?.waitMs ?? 0,
      log,
      now,
      devices: (user) => directory.devices(user, now()),
    });
    const key = sealingKey(context.clusterSecret);
    const trunks = new TrunkBook(store, key);
    const intervalMs = context.trunkOptionsMs ?? 0;
    this.#registrar = new TrunkRegistrar({ srf, store, book: trunks, log, now });
    this.#health = new TrunkHealth({ srf, store, book: trunks, log, intervalMs, now });
    this.#registry = new CallRegistry({
      trunks,
      push: this.#push,
      srf,
      dialogs: this.#dialogs,
      media: this.#media,
      music: context.musicOnHold ?? null,
      store,
      domain,
      log,
      now,
      directory,
      answerTimeoutMs: context.answerTimeoutMs ?? limits.answerTimeoutMs,
      isDown: (server) => this.#servers.isDown(server),
      leads: () => (store.status().role === 'leader' ? store.status().term : null),
    });
    this.#lease = leaseOf(context, () => this.#registry.size);
    const { peers, vip } = context;
    this.api = new Queries({
      store,
      servers: this.#servers,
      domain,
      peers,
      vip,
      trunks: new TrunkAdmin({ store, book: trunks, key, isAsked: intervalMs > 0, now }),
      now,
      isSilent: (user, contact) => this.#reachability.isSilent(user, contact),
    });
  }

  #makeMedia(): MediaControl {
    const owner = mediaOwner(this.#context.clusterSecret);
    const choose: ChooseServer = (except) => this.#servers.takeMediaServer(except);
    return new MediaControl(choose, this.#log, owner);
  }

  #makeLeftovers(): Leftovers {
    return new Leftovers({
      servers: () => this.#servers.mediaServers(),
      list: (ng) => this.#media.silentSessions(ng),
      delete: (ng, callId) => this.#media.delete(ng, callId),
      isKnown: (callId) => this.#registry.has(callId),
      leads: () => this.#registry.leading,
      log: this.#log,
    });
  }

  async start(): Promise<void> {
    const { store, sipEvents } = this.#context;
    sipEvents.attach((events) => {
      this.#reachability.apply(events);
      this.#dialogs.apply(events);
    });
    store.watch(['server:'], (events) => this.#stored(events));
    this.#lease?.start();
    this.#timers = [
      setInterval(() => this.#tick(), limits.deadlineTickMs),
      setInterval(() => this.#registry.sweep(), limits.sweepMs),
      setInterval(() => this.#sweepMedia(), limits.leftoversMs),
    ];
    await this.#connected.promise;
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) {
      clearInterval(timer);
    }
    this.#timers = [];
    await this.#lease?.stop();
    this.#registry.follow(Number.MAX_SAFE_INTEGER);
    this.#unlead();
    this.#connection.close();
    this.#media.close();
  }

  #sweepMedia(): void {
    if (this.#registry.leading) {
      void this.#leftovers.run();
    }
  }

  #tick(): void {
    this.#registry.tick();
    this.#registrar.tick();
    this.#health.tick();
  }

  #stored(events: readonly StoreEvent[]): void {
    this.#servers.apply(events);
    for (const event of events) {
      if (event.type === 'leading') {
        this.#term = event.term;
        this.#lead();
      } else if (event.type === 'following') {
        this.#term = null;
        this.#reachability.reset();
        this.#registry.follow(event.term);
        this.#unlead();
      }
    }
  }

  #lead(): void {
    if (this.#term !== null && this.#connection.up) {
      this.#registry.lead(this.#term);
      this.#registrar.lead();
      this.#health.lead();
    }
  }

  /** What was asked of trunks is not heard any more. */
  #unlead(): void {
    this.#registrar.follow();
    this.#health.follow();
  }

  /** The engine delivers open INVITEs again, so calls go on as after a takeover. */
  #down(): void {
    this.#dialogs.disconnected();
    this.#registry.suspend();
    this.#unlead();
  }

  #up(): void {
    this.#log.info({}, 'connected to the SIP engine');
    this.#dialogs.connected();
    this.#lead();
    this.#connected.resolve();
  }

  status() {
    return {
      failing: this.#connection.up ? null : 'call control is not connected to the SIP engine',
      leading: this.#registry.leading,
      calls: this.#registry.size,
      dialogs: this.#dialogs.size,
      dialogsUnbuilt: this.#dialogs.unbuilt,
    };
  }

  metrics(): string {
    const { counts, refused } = this.#registry;
    const gauges = {
      raftpbx_call_control_leading: this.#registry.leading ? 1 : 0,
      raftpbx_calls: this.#registry.size,
      raftpbx_dialogs: this.#dialogs.size,
    };
    const lines = Object.entries(gauges).flatMap(([name, value]) => [
      `# TYPE ${name} gauge`,
      `${name} ${value}`,
    ]);
    lines.push('# TYPE raftpbx_calls_total counter');
    for (const [outcome, value] of Object.entries(counts)) {
      lines.push(`raftpbx_calls_total{outcome="${outcome}"} ${value}`);
    }
    lines.push('# TYPE raftpbx_calls_refused_total counter');
    for (const [code, value] of refused) {
      lines.push(`raftpbx_calls_refused_total{code="${code}"} ${value}`);
    }
    lines.push('# TYPE raftpbx_push_total counter');
    for (const [outcome, value] of Object.entries(this.#push.counts)) {
      lines.push(`raftpbx_push_total{outcome="${outcome}"} ${value}`);
    }
    lines.push('# TYPE raftpbx_trunk_registrations_total counter');
    for (const [outcome, value] of Object.entries(this.#registrar.counts)) {
      lines.push(`raftpbx_trunk_registrations_total{outcome="${outcome}"} ${value}`);
    }
    lines.push('# TYPE raftpbx_trunk_options_total counter');
    for (const [outcome, value] of Object.entries(this.#health.counts)) {
      lines.push(`raftpbx_trunk_options_total{outcome="${outcome}"} ${value}`);
    }
    lines.push('# TYPE raftpbx_ng_timeouts_total counter');
    lines.push(`raftpbx_ng_timeouts_total ${this.#media.timeouts}`);
    lines.push('# TYPE raftpbx_media_leftovers_total counter');
    lines.push(`raftpbx_media_leftovers_total ${this.#leftovers.deleted}`);
    return `${lines.join('\n')}\n`;
  }
}

/** A server has one lease; where a media server runs beside, that role keeps it. */
function leaseOf(context: CallManagerContext, load: () => number): ServerLease | null {
  const { name, roles, address, version, store, log } = context;
  if (roles.includes('media')) {
    return null;
  }
  return new ServerLease({
    server: { name, roles: [...roles], address, capacity: limits.callsMax, version },
    load,
    alarms: () => store.status().alarms,
    execute: (command) => store.execute(command),
    log,
  });
}
