/**
 * `raftpbx start`: one process, one server, one or more roles.
 *
 * Order of a Call Manager: store, SIP engine, call control, API, and the VIP last, so that the
 * address is never taken by a server that could not answer. It leaves in the opposite order,
 * after handing leadership over, so that a planned stop costs the phones nothing.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type CallManagerHandle, startCallManager } from './call-manager/index.ts';
import { joinAddress } from './config/address.ts';
import { loadConfig } from './config/load.ts';
import type { ServerConfig } from './config/schema.ts';
import { readSecret } from './config/secrets.ts';
import {
  engineAddress,
  registrarElsewhere,
  type SipConfig,
  sipOptions,
} from './config/sip-options.ts';
import { storeAccounts } from './config/store-accounts.ts';
import { migrations } from './domain/schema.ts';
import type { RoleHandle } from './domain/server.ts';
import { startMediaServer } from './media/index.ts';
import { SipEngine, Store, Vip } from './native/index.ts';
import { describeFatal } from './observe/fatal.ts';
import { Health } from './observe/health.ts';
import { createLog, joinNativeLog, type Logger, setLogLevel } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { Reload } from './observe/reload.ts';
import { startObserveServer } from './observe/server.ts';
import { startApi } from './portal/api/index.ts';
import type { Holding } from './portal/api/status.ts';
import { reportDifference, type WantedMember } from './portal/members.ts';
import { askForTrace, otherNodes } from './portal/trace-nodes.ts';

import { SipEventFeed } from './sip/event-feed.ts';

/** Handing over and closing must be done by then; a supervisor kills soon after. */
const stopDeadlineMs = 8000;
/** A handover that takes longer is left to the election. */
const handoverDeadlineMs = 2000;

/** What every role is started with. */
interface Surroundings {
  config: ServerConfig;
  version: string;
  log: Logger;
  /** The logs of the parts, for a change of the level. */
  logs: Logger[];
  metrics: Metrics;
  health: Health;
  reload: Reload;
}

/** Undoes one step of the start. */
type Undo = () => void | Promise<void>;

/** Runs a server until it is told to stop; resolves to the exit status. */
export async function runServer(configFile: string): Promise<number> {
  let log = createLog('raftpbx', 'info');
  const undo: Undo[] = [];
  try {
    const config = loadConfig(configFile);
    log = createLog(config.name, config.log.level);
    joinNativeLog(log, config.log.level);
    const end = Promise.race([stopSignal(), faultOf(log)]);
    const here = surroundingsOf(configFile, config, log);
    // A server that waits for its peers can be stopped as well as one that works.
    const early = await Promise.race([startServer(here, undo), end]);
    if (early === null) {
      here.health.started();
      log.info({ roles: config.roles, address: config.address }, 'server started');
    }
    const reason = early ?? (await end);
    here.health.stopping();
    log.info({ reason }, 'server stops');
    const clean = await unwind(undo, log);
    log.info({ clean }, 'server stopped');
    return clean && reason !== 'fault' ? 0 : 1;
  } catch (error) {
    const { code, message, fix } = describeFatal(error);
    log.fatal({ code, fix }, `${code}: ${message}`);
    await unwind(undo, log);
    return code === 'PBX_CONFIG_INVALID' || code === 'PBX_SECRET_UNSAFE' ? 2 : 1;
  }
}

function surroundingsOf(file: string, config: ServerConfig, log: Logger): Surroundings {
  const logs = [log];
  const reload = new Reload(file, config, log);
  reload.add('log level', ({ log: { level } }) => setLogLevel(logs, level));
  // Without a listener the signal would end the process, also while it starts.
  process.on('SIGHUP', () => void reload.run());
  return {
    config,
    version: productVersion(),
    log,
    logs,
    metrics: new Metrics(config.name),
    health: new Health(config.name, config.roles),
    reload,
  };
}

/** The log of a part of the server. */
function partLog({ log, logs }: Surroundings, role: string): Logger {
  const made = log.child({ role });
  logs.push(made);
  return made;
}

/** Resolves to null when every role works. */
async function startServer(here: Surroundings, undo: Undo[]): Promise<null> {
  const { config, metrics, health } = here;
  const observe = await startObserveServer(config.metrics.listen, metrics, health);
  undo.push(() => observe.close());
  mkdirSync(config.directory, { recursive: true, mode: 0o700 });
  if (config.roles.includes('media')) {
    await startMedia(here, undo);
  }
  if (config.roles.includes('call-manager')) {
    await startCalls(here, undo);
  }
  return null;
}

async function startMedia(here: Surroundings, undo: Undo[]): Promise<void> {
  const { config, version, metrics, health } = here;
  const { media } = config;
  if (media === undefined) {
    return;
  }
  // The VIP first: what is written there is committed without a detour.
  const hosts = [
    ...(config.cluster.vip?.addresses ?? []),
    ...config.cluster.peers.map((peer) => peer.address),
  ];
  const handle = await startMediaServer({
    name: config.name,
    log: partLog(here, 'media'),
    address: config.address,
    roles: config.roles,
    version,
    interfaces: media.interfaces.map(({ local, advertised }) => ({
      local,
      advertised: advertised ?? null,
    })),
    floating: media.floating ?? null,
    ngListen: media.ngListen,
    ngTcpListen: media.ngTcpListen,
    ports: media.ports,
    workers: media.workers,
    timeoutS: media.timeoutS,
    recordings: media.recordings,
    prompts: media.prompts,
    fastPath: media.fastPath,
    packetIo: media.packetIo,
    recordingFormat: media.recordingFormat,
    codecs: media.codecs,
    forwardTo: media.forwardTo,
    forwardRateHz: media.forwardRateHz,
    store: {
      hosts: hosts.map((host) => joinAddress(host, config.store.respPort)),
      username: config.store.user,
      password: readSecret(config.store.passwordFile),
      ...(config.store.tls ? { authority: config.cluster.certificates.authority } : {}),
    },
  });
  undo.push(() => handle.stop());
  observeRole(handle, 'media', metrics, health);
}

/** What is wrong with an engine that no application is connected to. */
const unled = 'call control is not connected to the engine';

async function startCalls(here: Surroundings, undo: Undo[]): Promise<void> {
  // drachtio-srf asks for a variable at each header it reads. Node asks the C library each time,
  // an object of its own answers at once: a third of what it takes to read a message.
  process.env = { ...process.env };
  const { config, version, log, metrics, health } = here;
  const { sip, api } = config;
  const { id, peers, vip } = config.cluster;
  if (sip === undefined || api === undefined || id === undefined || vip === undefined) {
    return;
  }
  const store = await openStore(config, id);
  undo.push(() => store.close());
  metrics.add(() => store.metrics());
  health.check('store', () => problemOf(store));
  migrateWhenLeading(store, log);
  here.reload.add('store', (changed) => reloadStore(store, changed, log));

  const feed = new SipEventFeed();
  const secret = readSecret(sip.drachtioSecretFile);
  const isOwn = sip.engine === 'embedded';
  const engine = isOwn ? startEngine(here, undo, { config, sip, secret, store, feed }) : null;
  const calls = await startCallManager({
    name: config.name,
    log: partLog(here, 'call-manager'),
    domain: sip.domain,
    address: config.address,
    roles: config.roles,
    version,
    peers,
    vip: vip.addresses,
    store,
    engine,
    sipEvents: feed,
    drachtio: { ...engineAddress(sip), secret },
    elsewhere: isOwn ? null : { registrar: registrarElsewhere(config, sip) },
    clusterSecret: readSecret(config.cluster.secretFile),
    push: sip.push ?? null,
    musicOnHold: sip.musicOnHold === '' ? null : sip.musicOnHold,
    transcode: sip.transcode,
    trunkOptionsMs: sip.trunkOptionsS * 1000,
  });
  undo.push(() => calls.stop());
  observeRole(calls, 'calls', metrics, health);
  health.check('lease', () =>
    store.read(['EXISTS', `server:${config.name}`]) === 1 ? null : 'the lease is not renewed',
  );

  let address: Vip | null = null;
  const holding = { server: config.name, holdsVip: () => address?.status().holding ?? false };
  await startPortal(here, undo, { store, calls, engine, holding });

  const held = Vip.start({ interface: vip.interface, addresses: vip.addresses }, store, engine);
  address = held;
  undo.push(() => held.close());
  undo.push(() => handOver(store, held, log));
  metrics.add(() => vipMetrics(held));
}

/** The engine in this process. */
function startEngine(
  { metrics, health }: Surroundings,
  undo: Undo[],
  parts: { config: ServerConfig; sip: SipConfig; secret: string; store: Store; feed: SipEventFeed },
): SipEngine {
  const { config, sip, secret, store, feed } = parts;
  const engine = SipEngine.start(sipOptions(config, sip, secret), store, feed.push);
  undo.push(() => engine.close());
  metrics.add(() => engine.metrics());
  health.check('sip', () => (engine.status().applications === 0 ? unled : null));
  return engine;
}

async function startPortal(
  here: Surroundings,
  undo: Undo[],
  parts: { store: Store; calls: CallManagerHandle; engine: SipEngine | null; holding: Holding },
): Promise<void> {
  const { config, log, health, reload } = here;
  const { store, calls, engine, holding } = parts;
  const { api } = config;
  if (api === undefined) {
    return;
  }
  let wanted: readonly WantedMember[] = config.cluster.peers;
  const ports = { raft: config.store.raftPort, resp: config.store.respPort };
  reportDifference(store, () => wanted, ports, log);
  reload.add('members', ({ cluster }) => {
    wanted = cluster.peers;
  });
  const authority = readFileSync(config.cluster.certificates.authority, 'utf8');
  const portal = await startApi({
    listen: api.listen,
    tls: { certificate: api.certificate, key: api.key },
    administrator: readSecret(api.adminFile),
    source: calls.api,
    members: {
      list: () => store.members(),
      alarms: () => store.status().alarms,
      change: (change) => store.changeMembers(change),
      forget: (server) => store.execute(['HDEL', 'servers', server]),
      wanted: () => wanted,
      ports,
    },
    here: holding,
    backups: store,
    traces: {
      server: config.name,
      // An engine elsewhere keeps no trace for us.
      here: (ids) => engine?.trace(ids) ?? { callIds: [], messages: [], skipped: 0 },
      others: () => otherNodes(store, config.name, api.listen),
      ask: (node, ids, authorization) => askForTrace(node, ids, { authorization, authority }),
    },
    health,
    log: partLog(here, 'portal'),
  });
  undo.push(() => portal.close());
  reload.add('api', () => portal.reload(readSecret(api.adminFile)));
}

/** Users of the Redis protocol and the certificates; where the files are needs a restart. */
async function reloadStore(store: Store, config: ServerConfig, log: Logger): Promise<void> {
  const closed = store.setAccounts(storeAccounts(config.store));
  if (closed > 0) {
    log.info({ closed }, 'connections of users that are gone or may do less were closed');
  }
  await store.reloadCertificates();
}

/** What is wrong with the store of this server, not of others; null when nothing is. */
function problemOf(store: Store): string | null {
  const { leader, alarms } = store.status();
  const own = alarms.find(({ code }) => !code.startsWith('PBX_STORE_MEMBER_'));
  return own?.text ?? (leader === null ? 'there is no leader' : null);
}

function openStore(config: ServerConfig, id: number): Promise<Store> {
  const { certificates, peers } = config.cluster;
  const { raftPort, respPort, tls, clientIdleS } = config.store;
  return Store.open({
    id,
    directory: config.directory,
    raftListen: joinAddress(config.address, raftPort),
    peers: peers.map((peer) => ({
      id: peer.id,
      name: peer.name,
      raft: joinAddress(peer.address, raftPort),
      resp: joinAddress(peer.address, respPort),
    })),
    join: config.cluster.join,
    respListen: [joinAddress('::', respPort)],
    accounts: storeAccounts(config.store),
    respTls: tls ? { certificate: certificates.certificate, key: certificates.key } : null,
    respIdleS: clientIdleS === 0 ? null : clientIdleS,
    tls: certificates,
    heartbeatMs: config.store.heartbeatMs,
    electionMinMs: config.store.electionMinMs,
    electionMaxMs: config.store.electionMaxMs,
  });
}

function observeRole(handle: RoleHandle, name: string, metrics: Metrics, health: Health): void {
  metrics.add(() => handle.metrics());
  health.check(name, () => {
    const status = handle.status() as { failing?: string | null } | null;
    return status?.failing ?? null;
  });
}

/** Followers need not do it: the leader's entries reach them. */
function migrateWhenLeading(store: Store, log: Logger): void {
  store.watch([], (events) => {
    for (const event of events) {
      if (event.type === 'leading') {
        log.info({ term: event.term }, 'this server leads');
        migrate(store).catch((error: Error) => {
          log.error({ error: error.message, term: event.term }, 'the tables were not migrated');
        });
      } else if (event.type === 'following') {
        log.info({ term: event.term, leader: event.leader }, 'this server follows');
      }
    }
  });
}

/** Each migration is applied once, however often it is sent. */
async function migrate(store: Store): Promise<void> {
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', version, sql]);
  }
}

/** Gives address and leadership away while everything still runs. */
async function handOver(store: Store, address: Vip, log: Logger): Promise<void> {
  if (store.status().role !== 'leader') {
    return;
  }
  address.release();
  const given = store.transferLeadership().then(
    () => 'handed over' as const,
    (error: Error) => error.message,
  );
  const outcome = await Promise.race([given, delay(handoverDeadlineMs, 'timed out')]);
  log.info({ outcome }, 'leadership was offered to another server');
}

function vipMetrics(address: Vip): string {
  const { holding, acquired, dropped, leaseRemainingMs } = address.status();
  return [
    '# TYPE raftpbx_vip_holding gauge',
    `raftpbx_vip_holding ${holding ? 1 : 0}`,
    '# TYPE raftpbx_vip_acquired_total counter',
    `raftpbx_vip_acquired_total ${acquired}`,
    '# TYPE raftpbx_vip_dropped_total counter',
    `raftpbx_vip_dropped_total ${dropped}`,
    '# TYPE raftpbx_vip_lease_remaining_seconds gauge',
    `raftpbx_vip_lease_remaining_seconds ${leaseRemainingMs / 1000}`,
    '',
  ].join('\n');
}

/** Takes the start back, the last step first. False when it did not end in time. */
async function unwind(undo: Undo[], log: Logger): Promise<boolean> {
  const all = async () => {
    let clean = true;
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
      try {
        await step();
      } catch (error) {
        clean = false;
        log.warn({ error: (error as Error).message }, 'a part did not stop cleanly');
      }
    }
    return clean;
  };
  return Promise.race([all(), delay(stopDeadlineMs, false, { ref: false })]);
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => resolve(signal));
    }
  });
}

/** A mistake in the program ends this server: the cluster carries on without it. */
function faultOf(log: Logger): Promise<string> {
  return new Promise((resolve) => {
    const report = (error: unknown) => {
      const { code, message, fix } = describeFatal(error);
      log.fatal({ code, fix, err: error }, `${code}: ${message}`);
      resolve('fault');
    };
    process.on('uncaughtException', report);
    process.on('unhandledRejection', report);
  });
}

/** The version in package.json. */
export function productVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
