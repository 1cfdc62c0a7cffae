/** Shapes that cross the door to the Rust addon. Times are Unix milliseconds unless named so. */

/** One Redis command: name and arguments. */
export type Command = readonly (string | number | Buffer)[];

/** A decoded reply of the store: what Redis would have answered. Errors are thrown instead. */
export type Reply = string | number | null | Reply[];

/** A bound SQL parameter. */
export type SqlValue = string | number | boolean | null;

/** How a node of the store is reached. */
export interface StoreAddress {
  id: number;
  /** Name of the server, for people. */
  name: string;
  raft: string;
  resp: string | null;
}

/** A member of the cluster as a node knows it. */
export interface StoreMember extends StoreAddress {
  /** A learner receives the log and does not vote. */
  voter: boolean;
  leader: boolean;
  /** This node has a link to it. */
  reachable: boolean;
  /** Why there is none, when it said so. */
  problem: string | null;
  /** Last entry known to be in its log; only the leader knows. */
  matched: number | null;
}

/** A change of the members; each may be repeated. */
export type StoreMemberChange =
  | { type: 'add'; id: number; address: Omit<StoreAddress, 'id'> }
  | { type: 'promote'; id: number }
  | { type: 'remove'; id: number }
  | { type: 'replace'; old: number; new: number; address: Omit<StoreAddress, 'id'> | null };

/** Why a change of the members was refused. */
export interface StoreMemberRefusal {
  code: string;
  text: string;
  fix: string;
}

/** Something that a person must look at. */
export interface StoreAlarm {
  code: string;
  text: string;
  fix: string;
}

export interface StoreOptions {
  /** This node's number among the voters, 1 and up. */
  id: number;
  directory: string;
  /** `host:port` of the Raft listener. */
  raftListen: string;
  /** The nodes it starts with, this one included; later the membership in the log counts. */
  peers: StoreAddress[];
  /** Never found a cluster: wait to be added to the one the peers belong to. */
  join: boolean;
  /** Addresses of the Redis protocol listener; none closes it. */
  respListen: string[];
  /** Who may use it; none lets everybody do everything. Hashes read `sha256:SALT:DIGEST`. */
  accounts: { name: string; role: 'node' | 'operator' | 'metrics'; hashes: string[] }[];
  /** Files in PEM of the Redis protocol; null speaks plain TCP. */
  respTls: { certificate: string; key: string } | null;
  /** Silence after which a Redis client is disconnected; null never does. */
  respIdleS: number | null;
  /** Files in PEM; null runs without TLS, for the stand-alone store only. */
  tls: { authority: string; certificate: string; key: string } | null;
  heartbeatMs: number;
  electionMinMs: number;
  electionMaxMs: number;
}

export interface StoreStatus {
  id: number;
  role: 'leader' | 'follower' | 'candidate' | 'learner' | 'stopped';
  leader: number | null;
  /** When this node heard that the leader leads; 0 without one. */
  leaderSinceMs: number;
  term: number;
  lastLog: number;
  committed: number;
  applied: number;
  snapshot: number;
  /** When the snapshot was written; 0 without one. */
  snapshotAtMs: number;
  logBytes: number;
  sqlBytes: number;
  /** 99 of 100 flushes, and batches, took at most so many microseconds since the start. */
  fsyncP99Us: number;
  commitP99Us: number;
  /** What a leader knows of the others; empty on followers. */
  peers: { id: number; matched: number | null; lastAckMs: number | null }[];
  alarms: StoreAlarm[];
}

/** What the store tells a watcher, in the order of the log. */
export type StoreEvent =
  | { type: 'changed'; changes: { key: string; value: string | null }[] }
  /** A snapshot was installed: forget everything, every matching key follows as `changed`. */
  | { type: 'reset' }
  /** This node leads and has applied its own first entry. */
  | { type: 'leading'; term: number }
  | { type: 'following'; term: number; leader: number | null };

export interface RequestHandler {
  /** Upper-case SIP method, or `*` for all that have no handler of their own. */
  sipMethod: string;
  httpMethod: 'GET' | 'POST';
  /** `http:`, `https:`: a web server to ask; `tcp:`, `tls:`: an application to connect to. */
  url: string;
}

export interface SipOptions {
  /** `udp/host:port`, also tcp, tls, ws, wss; IPv6 in brackets. Need not be up yet. */
  listen: string[];
  /** Threads that read UDP; 1, as without it: the engine does it itself. */
  udpWorkers?: number;
  /** `host:port` of name servers; none asks those of the operating system. */
  nameServers: string[];
  /** TCP, TLS and WebSocket connections that one address may begin. */
  connectionsPerAddress: number;
  /** Calls and subscriptions with one address, and begun by one user; else the engine's own. */
  dialogsPerAddress?: number;
  dialogsPerUser?: number;
  /**
   * Files in PEM; needed by tls, wss and applications over TLS. Without an authority the
   * system's are trusted.
   */
  tls: { certificate: string; key: string; authority: string | null } | null;
  /** Where drachtio-srf connects, `secure` over TLS with a certificate of its own, else `tls`. */
  drachtio: {
    listen: string;
    secure?: string | null;
    tls?: { certificate: string; key: string } | null;
    secret: string;
  };
  /** Who decides about new requests in place of the applications that route them. */
  requestHandlers?: RequestHandler[];
  /** null leaves REGISTER to the application. */
  registrar: {
    domains: string[];
    realm: string;
    minExpiresS: number;
    maxExpiresS: number;
    defaultExpiresS: number;
    maxBindings: number;
    /** Algorithms that challenges name; an answer with either is accepted. */
    digest: 'md5' | 'sha-256-and-md5';
    /** What becomes of one binding more than a user may have. */
    whenFull: 'refuse' | 'replace-oldest';
    /** URIs of the Service-Route (RFC 3608). */
    serviceRoutes: string[];
    /** `pn-provider`s that can be served (RFC 8599); empty: any is taken, nobody is woken. */
    pushProviders: string[];
    /** How often devices are asked with OPTIONS; 0 never. */
    qualifyS: number;
    /** Keep-alive period asked of devices with outbound (RFC 5626); 0 none. */
    flowTimerS: number;
    /** Addresses and networks that are never banned. */
    trusted: string[];
  } | null;
  /** Challenge INVITEs that come from outside. */
  authenticateCalls: boolean;
  /** Networks whose P-Asserted-Identity is believed: `192.0.2.0/24` or an address. */
  trusted: string[];
  /** Session timers (RFC 4028), seconds; `expiresS` 0 offers none. */
  sessionTimer: { expiresS: number; minSeS: number };
  /** Whether forwarded calls hide the addresses of each side from the other; else they do not. */
  topologyHiding?: { enabled: boolean; callIds: boolean };
  /** Bytes of memory for copies of messages; 0, as without it, keeps none. */
  traceBytes?: number;
  /** A collector that gets a copy of every message, HEP3 over UDP. */
  hep?: { address: string; id: number; password: string | null } | null;
  /** Cluster secret from which nonce and tag keys are derived; the same on every node. */
  secret: string;
}

/** A confirmed dialog as the log has it: enough to build a `Srf.Dialog`. */
export interface DialogView {
  /** `Call-ID;from-tag=tag`, what drachtio-srf calls stackDialogId. */
  id: string;
  role: 'uas' | 'uac';
  /** `callId/legNo` when call control named the leg. */
  leg: string | null;
  transactionId: string;
  /** The INVITE as the application saw or sent it. */
  request: string;
  /** The 2xx. */
  response: string;
  protocol: string;
  /** The peer. */
  address: string;
  port: number;
  /** The peer's BYE is committed, nobody has finished it yet. */
  endedRemotely: boolean;
}

export type SipEvent =
  | { type: 'dialogConfirmed'; dialog: DialogView }
  | { type: 'dialogRemoved'; id: string }
  | { type: 'contactReachable'; user: string; contact: string; reachable: boolean };

export interface SipStatus {
  leading: boolean;
  transactions: number;
  dialogs: number;
  bindings: number;
  connections: number;
  applications: number;
}

/** One message that this node received or sent, credentials masked. */
export interface TracedMessage {
  /** Unix microseconds. */
  atUs: number;
  sent: boolean;
  transport: 'udp' | 'tcp' | 'tls' | 'ws' | 'wss';
  /** `host:port` of ours, IPv6 in brackets. */
  local: string;
  remote: string;
  /** Bytes on the wire; `text` is shorter when the message was cut. */
  length: number;
  /** What turns `text` into the bytes. */
  encoding: 'utf8' | 'latin1';
  text: string;
}

/** What this node knows of some calls. */
export interface CallTrace {
  /** The Call-IDs of their legs. */
  callIds: string[];
  /** In the order of time. */
  messages: TracedMessage[];
  /** Messages that were too many to keep. */
  skipped: number;
}

export interface VipOptions {
  interface: string;
  /** IPv4 and IPv6, without prefix length. */
  addresses: string[];
}

export interface VipStatus {
  holding: boolean;
  leaseRemainingMs: number;
  acquired: number;
  dropped: number;
}

export interface MediaOptions {
  interfaces: { local: string; advertised: string | null }[];
  /** Addresses that move between media servers; null means calls end with this one. */
  floating: FloatingAddresses | null;
  portFrom: number;
  portTo: number;
  workers: number;
  /** `host:port` of the NG listener; null means only calls through `ng()`. */
  ngListen: string | null;
  /** `host:port` of the NG listener of TCP and WebSocket; null means none. */
  ngTcpListen: string | null;
  mediaTimeoutS: number;
  /** Folder of recordings; null means nothing is recorded. */
  recordings: string | null;
  /** Folder below which `play media` finds files; null means no file is played. */
  prompts: string | null;
  /** Whether the kernel relays established flows, where it can. */
  fastPath: boolean;
  /** How all other packets are received and sent; `auto` is the best that works here. */
  packetIo: 'auto' | 'epoll' | 'io_uring' | 'sk_lookup';
  /** 16-bit samples, or Opus in Ogg. */
  recordingFormat: 'wav' | 'opus';
  /** Shared libraries of further codecs (`crates/media/include/raftpbx_codec.h`), whole paths. */
  codecs: string[];
  /** `address:port` or Unix socket (a whole path) of who takes forwarded sound; null is nobody. */
  forwardTo: string | null;
  /** Samples a second of forwarded sound: 8000, 16000 or 48000. */
  forwardRateHz: number;
}

/** Addresses that move to another media server when the one that has them dies. */
export interface FloatingAddresses {
  /** Network interface that carries them; null means somebody else brings them here. */
  interface: string | null;
  /** Those of this server: new calls are there while it has them. */
  addresses: string[];
  /** All that may come here, its own too. */
  group: string[];
}

/** A floating address that is here, and the calls with ports there. */
export interface HeldAddress {
  address: string;
  calls: number;
}

export interface MediaStats {
  sessions: number;
  legs: number;
  packets: number;
  bytes: number;
  dropped: number;
  portsFree: number;
}

export type MediaEvent =
  /** No packet came on any stream of the call; reported once until packets flow again. */
  | { type: 'timeout'; callId: string; silentS: number }
  /** A stream learned where its peer really sends from. */
  | { type: 'latched'; callId: string; tag: string; source: string }
  /** A party pressed a key (0 to 9, `*`, `#`, A to D) and let it go. */
  | {
      type: 'dtmf';
      callId: string;
      tag: string;
      digit: string;
      durationMs: number;
      /** Found in the sound, not sent as an event (RFC 4733). */
      inBand: boolean;
    }
  /** What was played to a party has come to its end by itself. */
  | { type: 'playEnd'; callId: string; tag: string; playedMs: number }
  /** The thread that carried the call has failed: the call is gone, as if it had been deleted. */
  | { type: 'lost'; callId: string }
  /**
   * A command has changed the call since it was written down for another engine; told once until
   * it is written down anew.
   */
  | { type: 'changed'; callId: string }
  | RoomEvent;

/** Samples of a party that is tapped. */
export interface TapChunk {
  /** What `MediaEngine.tap` answered. */
  tap: number;
  /**
   * Where it begins, in samples since the tap began. What is missing between two chunks was
   * silence, or was lost because this process was too slow.
   */
  position: number;
  /** None: the tap has ended, with its call or by `untap`. */
  pcm: Int16Array;
}

/** Something that happened in a room (see `docs/reference/ng-protocol.md`, rooms). */
export type RoomEvent =
  | { type: 'roomJoined'; room: string; callId: string; tag: string }
  | {
      type: 'roomLeft';
      room: string;
      callId: string;
      tag: string;
      /** A command wanted it, its call has ended, or the room has. */
      reason: 'asked' | 'gone' | 'closed';
    }
  /** A party begins or ceases to talk. */
  | { type: 'roomTalking'; room: string; callId: string; tag: string; talking: boolean }
  /** Another party is the one who speaks most: it was the loudest for 300 ms. */
  | { type: 'roomSpeaker'; room: string; callId: string; tag: string }
  /** What was played to all has come to its end by itself. */
  | { type: 'roomPlayEnd'; room: string; playedMs: number };

/** A line of the Rust side's log. */
export interface LogLine {
  level: 'trace' | 'debug' | 'info' | 'warn' | 'error';
  target: string;
  message: string;
  fields: Record<string, string>;
}
