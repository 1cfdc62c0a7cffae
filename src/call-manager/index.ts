/**
 * The Call Manager role: call control on the leader, a warm copy of it on the others.
 *
 * # Layout
 * - `calls/`: the calls; `routing/`: where they go
 * - `trunks/`: providers, and our registrations there
 * - `directory.ts`: users and devices, `media-control.ts`: media servers
 * - `elsewhere/`: what is done here when the SIP engine is on another machine
 * - `media-links.ts`: sees media servers die, `media-takeover.ts`: lets others go on
 * - `api.ts`: what others may ask, `queries.ts`: the answers
 * - `README.md`: what is kept when this server dies
 *
 * Order at a takeover: the engine leads first (in the addon), then this node's call control,
 * as soon as it is connected to the engine; an INVITE that is faster pulls it along. To an engine
 * elsewhere only the leader is connected.
 */
import { ServerLease, ServerWatch } from '../cluster/index.ts';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import { mediaOwner, sealingKey } from '../domain/sealing.ts';
import type { RoleHandle } from '../domain/server.ts';
import { parseToldKey, toldPrefixes } from '../domain/told-session.ts';
import type { SipEngine, Store, StoreEvent } from '../native/index.ts';
import { type ConnectionOptions, engineConnection, type SipConnection } from '../sip/connection.ts';
import type { SipEventFeed } from '../sip/event-feed.ts';
import { type DialogHandler, DialogReplica } from '../sip/rehydrate.ts';
import type { SipRequest, SipResponse } from '../sip/srf.ts';
import type { CallManagerApi } from './api.ts';
import { CallRegistry } from './calls/index.ts';
import { Directory } from './directory.ts';
import { type ElsewhereOptions, EngineElsewhere } from './elsewhere/index.ts';
import { Leftovers } from './leftovers.ts';
import { type ChooseServer, MediaControl } from './media-control.ts';
import { MediaLinks } from './media-links.ts';
import { MediaTakeover } from './media-takeover.ts';
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
  /** Null: it is elsewhere. */
  engine: SipEngine | null;
  /** The feed whose `push` was given to `SipEngine.start`. */
  sipEvents: SipEventFeed;
  /** Where the engine takes applications; with an authority (PEM) over TLS. */
  drachtio: { host: string; port: number; secret: string; authority?: string | null };
  /** What an engine that is elsewhere does not do. */
  elsewhere?: ElsewhereOptions | null;
  /** The same on every node: seals what the log must not show. */
  clusterSecret: string;
  /** The push service that wakes devices, and how long a call waits for them. */
  push?: { url: string; waitMs: number } | null;
  /** File of the media servers that a party on hold hears; none unless given. */
  musicOnHold?: string | null;
  /** Codecs that media servers change to for who has none of the other party; none unless given. */
  transcode?: readonly string[];
  /** How often a trunk is asked whether it is there; never unless given. */
  trunkOptionsMs?: number;
  /** Time to ring before a call counts as not answered; 60 s unless given. */
  answerTimeoutMs?: number;
}

export interface CallManagerHandle extends RoleHandle {
  api: CallManagerApi;
}

/** Resolves when call control is connected to the engine, or when it will be as leader. */
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
  readonly #links: MediaLinks;
  readonly #takeover: MediaTakeover;
  readonly #lease: ServerLease | null;
  readonly #connection: SipConnection;
  readonly #dialogs: DialogReplica;
  readonly #registry: CallRegistry;
  readonly #registrar: TrunkRegistrar;
  readonly #health: TrunkHealth;
  readonly #reachability: Reachability;
  readonly #push: Push;
  readonly #elsewhere: EngineElsewhere | null;
  readonly #connected = Promise.withResolvers<void>();
  #timers: NodeJS.Timeout[] = [];
  /** The term this node leads in, whether or not call control has followed yet. */
  #term: number | null = null;
  #stopped = false;

  constructor(context: CallManagerContext) {
    const { store, log, domain } = context;
    const now = Date.now;
    this.#context = context;
    this.#log = log;
    this.#servers = new ServerWatch(store, now);
    this.#media = this.#makeMedia();
    this.#leftovers = this.#makeLeftovers();
    this.#links = this.#makeLinks();
    this.#takeover = this.#makeTakeover();
    const key = sealingKey(context.clusterSecret);
    const trunks = new TrunkBook(store, key);
    this.#elsewhere = this.#makeElsewhere(trunks);
    this.#connection = this.#makeConnection();
    const { srf } = this.#connection;
    this.#dialogs = this.#makeDialogs();
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
    const intervalMs = context.trunkOptionsMs ?? 0;
    this.#registrar = new TrunkRegistrar({ srf, store, book: trunks, log, now });
    this.#health = new TrunkHealth({ srf, store, book: trunks, log, intervalMs, now });
    this.#registry = new CallRegistry({
      trunks,
      push: this.#push,
      srf,
      dialogs: this.#dialogs,
      elsewhere: this.#elsewhere,
      media: this.#media,
      music: context.musicOnHold ?? null,
      store,
      domain,
      log,
      now,
      directory,
      answerTimeoutMs: context.answerTimeoutMs ?? limits.answerTimeoutMs,
      isDown: (server) => this.#servers.isDown(server),
      isTaken: (server) => this.#takeover.isBusy(server),
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

  #makeElsewhere(trunks: TrunkBook): EngineElsewhere | null {
    const { elsewhere, store, log, clusterSecret, domain } = this.#context;
    const here = { realm: domain, clusterSecret, store, trunks, log, now: Date.now };
    return elsewhere ? new EngineElsewhere(elsewhere, here) : null;
  }

  #makeConnection(): SipConnection {
    const { drachtio, log } = this.#context;
    const elsewhere = this.#elsewhere;
    const states: Pick<ConnectionOptions, 'onStray' | 'onUp' | 'onDown'> = {
      onStray: (req, res, next) => this.#dialogs.take(req, res, next),
      onUp: () => this.#up(),
      onDown: () => this.#down(),
    };
    if (elsewhere === null) {
      const onInvite = (req: SipRequest, res: SipResponse) => this.#registry.onInvite(req, res);
      return engineConnection({ ...drachtio, log, onInvite, ...states });
    }
    return engineConnection({
      ...{ ...drachtio, pings: true, log, ...states },
      onInvite: (req, res) => {
        if (this.#registry.has(req.stackTxnId) || elsewhere.admits(req, res)) {
          this.#registry.onInvite(req, res);
        }
      },
      others: {
        register: (req, res) => elsewhere.onRegister(req, res),
        options: (_req, res) => elsewhere.onOptions(res),
      },
    });
  }

  #makeDialogs(): DialogReplica {
    const handler: DialogHandler = {
      onBye: (...args) => this.#registry.onBye(...args),
      onModify: (...args) => this.#registry.onModify(...args),
      onPass: (...args) => this.#registry.onPass(...args),
    };
    const keeper = this.#elsewhere?.records ?? null;
    return new DialogReplica(this.#connection.srf, handler, this.#log, keeper);
  }

  #makeMedia(): MediaControl {
    const owner = mediaOwner(this.#context.clusterSecret);
    const choose: ChooseServer = (except) => this.#servers.takeMediaServer(except);
    return new MediaControl(choose, this.#log, owner, this.#context.transcode ?? []);
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

  #makeLinks(): MediaLinks {
    return new MediaLinks({
      servers: () => (this.#registry.leading ? this.#servers.mediaLeases() : []),
      died: (lease) => void this.#takeover.died(lease),
      log: this.#log,
    });
  }

  #makeTakeover(): MediaTakeover {
    return new MediaTakeover({
      calls: () => this.#registry.live(),
      store: this.#context.store,
      links: this.#links,
      servers: this.#servers,
      moveRest: () => this.#registry.tick(),
      log: this.#log,
      now: Date.now,
    });
  }

  async start(): Promise<void> {
    const { store, sipEvents } = this.#context;
    sipEvents.attach((events) => {
      this.#reachability.apply(events);
      this.#dialogs.apply(events);
    });
    if (this.#elsewhere === null) {
      this.#connection.open();
    } else {
      this.#elsewhere.attach(this.#connection.srf, this.#dialogs, this.#registry, (events) =>
        this.#dialogs.apply(events),
      );
      this.#connected.resolve();
    }
    store.watch(['server:', ...toldPrefixes], (events) => this.#stored(events));
    this.#lease?.start();
    this.#timers = [
      setInterval(() => this.#tick(), limits.deadlineTickMs),
      setInterval(() => this.#registry.sweep(), limits.sweepMs),
      setInterval(() => this.#sweepMedia(), limits.leftoversMs),
      setInterval(() => this.#links.tick(), limits.mediaLinkMs),
    ];
    await this.#connected.promise;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) {
      clearInterval(timer);
    }
    this.#timers = [];
    await this.#lease?.stop();
    this.#registry.follow(Number.MAX_SAFE_INTEGER);
    this.#unlead();
    this.#connection.close();
    this.#links.close();
    this.#media.close();
  }

  #sweepMedia(): void {
    if (this.#registry.leading) {
      void this.#leftovers.run();
    }
  }

  #tick(): void {
    this.#registry.tick();
    this.#takeover.keep();
    this.#registrar.tick();
    this.#health.tick();
    if (this.#registry.leading) {
      this.#elsewhere?.tick();
    }
  }

  #stored(events: readonly StoreEvent[]): void {
    this.#servers.apply(events);
    for (const event of events) {
      if (event.type === 'leading') {
        this.#term = event.term;
        if (this.#elsewhere !== null && !this.#stopped) {
          this.#connection.open();
        }
        this.#lead();
      } else if (event.type === 'following') {
        this.#term = null;
        this.#reachability.reset();
        this.#registry.follow(event.term);
        this.#unlead();
        if (this.#elsewhere !== null) {
          this.#connection.close();
          this.#dialogs.disconnected();
        }
      } else if (event.type === 'changed') {
        this.#sessionsTold(event.changes);
      }
    }
  }

  /**
   * Each is told of to the leader. What is lost stays in the store until its time is over: a
   * leader that dies before it has moved the call leaves it to the next, who would write down
   * by itself what has changed.
   */
  #sessionsTold(changes: readonly { key: string; value: string | null }[]): void {
    for (const { key, value } of this.#registry.leading ? changes : []) {
      const told = parseToldKey(key);
      if (told !== null && value !== null) {
        if (told.what === 'lost') {
          this.#registry.sessionLost(told.callId, value);
        } else {
          this.#takeover.changed(told.callId, value);
          this.#context.store.execute(['DEL', key]).catch((error: unknown) => {
            this.#log.debug({ error, key }, 'a session is told of once more');
          });
        }
      }
    }
  }

  #lead(): void {
    if (this.#term !== null && this.#connection.up) {
      this.#registry.lead(this.#term);
      for (const prefix of toldPrefixes) {
        this.#sessionsTold(this.#context.store.scan(prefix));
      }
      this.#elsewhere?.lead();
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
    // Nobody but the leader is connected to an engine elsewhere.
    const isDue = this.#elsewhere === null || this.#term !== null;
    const isMissing = isDue && !this.#connection.up;
    return {
      failing: isMissing ? 'call control is not connected to the SIP engine' : null,
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
    lines.push('# TYPE raftpbx_media_takeovers_total counter');
    lines.push(`raftpbx_media_takeovers_total ${this.#takeover.taken}`);
    return `${lines.join('\n')}\n${this.#elsewhere?.metrics() ?? ''}`;
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
