/**
 * The typed door to the Rust addon (`crates/bridge`).
 *
 * Commands given to `Store.execute` in one turn of the event loop cross in one call
 * and land in one log entry, which is what makes them cheap.
 */
import {
  addon,
  type NativeMedia,
  type NativeSip,
  type NativeStore,
  type NativeVip,
} from './addon.ts';

import { BackupSink, type RestoreOptions, readBackup } from './backup.ts';
import { decodeReplies, decodeSettled, encodeRequests } from './codec.ts';
import { readChunks } from './sound.ts';

import type {
  CallTrace,
  Command,
  HeldAddress,
  LogLine,
  MediaEvent,
  MediaOptions,
  MediaStats,
  Reply,
  SipEvent,
  SipOptions,
  SipStatus,
  SqlValue,
  StoreEvent,
  StoreMember,
  StoreMemberChange,
  StoreMemberRefusal,
  StoreOptions,
  StoreStatus,
  TapChunk,
  VipOptions,
  VipStatus,
} from './types.ts';

export type { BackupHead, BackupReport, BackupSink, RestoreOptions } from './backup.ts';
export type * from './types.ts';

/** The replicated store of this node. */
export class Store {
  readonly #native: NativeStore;
  #pending: {
    request: readonly Command[];
    resolve: (r: Reply) => void;
    reject: (e: Error) => void;
  }[] = [];

  /** Who waits for what was submitted as the leader. Bounded by what the store lets wait. */
  readonly #submitted = new Map<number, (reply: Buffer | null) => void>();
  #lastSubmitted = 0;

  private constructor(native: NativeStore) {
    this.#native = native;
    native.onSettled(() => this.#settle());
  }

  /** Recovers the log and joins the cluster; resolves before a leader is known. */
  static async open(options: StoreOptions): Promise<Store> {
    return new Store(await addon().openStore(JSON.stringify(options)));
  }

  /** For `SipEngine` and `Vip`, which are wired to the store inside the addon. */
  static native(store: Store): NativeStore {
    return store.#native;
  }

  /** Commits one command; rejects with the store's error text. */
  execute(command: Command): Promise<Reply> {
    return this.transaction([command]).then((replies) => (replies as Reply[])[0] as Reply);
  }

  /** Commits several commands as one atomic entry; resolves to their replies. */
  transaction(commands: readonly Command[]): Promise<Reply[]> {
    const single = commands.length === 1;
    return new Promise<Reply>((resolve, reject) => {
      this.#pending.push({ request: commands, resolve, reject });
      if (this.#pending.length === 1) {
        setImmediate(() => this.#flush());
      }
    }).then((reply) => (single ? [reply] : (reply as Reply[])));
  }

  /**
   * The same, before whatever the SIP engine of this node is told to commit from now on, as long
   * as this node leads; afterwards held like any other, or null when only this leader may have it
   * (`here`). It may wait `patienceMs`, 100 at most, for another commit to share its entry with.
   */
  async transactionInOrder(
    commands: readonly Command[],
    patienceMs: number,
    here = false,
  ): Promise<Reply[] | null> {
    const request = encodeRequests([commands]);
    const bytes = await new Promise<Buffer | null>((resolve) => {
      this.#lastSubmitted = (this.#lastSubmitted + 1) % 2 ** 32;
      this.#native.submitAsLeader(this.#lastSubmitted, request, patienceMs);
      this.#submitted.set(this.#lastSubmitted, resolve);
    });
    if (bytes === null) {
      return here ? null : await this.transaction(commands);
    }
    const reply = one(bytes);
    return commands.length === 1 ? [reply] : (reply as Reply[]);
  }

  #settle(): void {
    for (const { id, reply } of decodeSettled(this.#native.takeSettled())) {
      this.#submitted.get(id)?.(reply);
      this.#submitted.delete(id);
    }
  }

  #flush(): void {
    const batch = this.#pending;
    this.#pending = [];
    this.#native.submit(encodeRequests(batch.map((entry) => entry.request))).then(
      (bytes) => {
        const replies = decodeReplies(bytes);
        batch.forEach((entry, i) => {
          const reply = replies[i];
          if (reply instanceof Error) {
            entry.reject(reply);
          } else {
            entry.resolve(reply ?? null);
          }
        });
      },
      (error: Error) => {
        for (const entry of batch) {
          entry.reject(error);
        }
      },
    );
  }

  /** Reads this node's own copy: never waits, may be stale. */
  read(command: Command): Reply {
    return one(this.#native.read(encodeRequests([[command]])));
  }

  /** Reads what every acknowledged write has produced, through the leader's lease. */
  async readLinearizable(command: Command): Promise<Reply> {
    return one(await this.#native.readLinearizable(encodeRequests([[command]])));
  }

  /** String keys that begin with `prefix`, in order, from this node's own copy. */
  scan(
    prefix: string,
    after: string | null = null,
    limit = 1000,
  ): { key: string; value: string }[] {
    return this.#native.scan(prefix, after, limit);
  }

  /** How many keys begin with `prefix` in this node's own copy. */
  count(prefix: string): number {
    return this.#native.count(prefix);
  }

  /** Reads this node's own SQLite file. */
  query<Row>(sql: string, args: readonly SqlValue[] = []): Row[] {
    return JSON.parse(this.#native.query(sql, JSON.stringify(args))) as Row[];
  }

  /** Reads tables as every acknowledged write has left them, at the leader under its lease. */
  async queryLinearizable<Row>(sql: string, args: readonly SqlValue[] = []): Promise<Row[]> {
    const rows = await this.readLinearizable(['SQL.QUERY', sql, JSON.stringify(args)]);
    return JSON.parse(String(rows)) as Row[];
  }

  /** Calls `listener` in log order, first with what is there already. */
  watch(prefixes: readonly string[], listener: (events: StoreEvent[]) => void): void {
    this.#native.watch([...prefixes], (batch) => listener(JSON.parse(batch) as StoreEvent[]));
  }

  /** The members of the cluster as this node knows them. */
  members(): StoreMember[] {
    return JSON.parse(this.#native.members()) as StoreMember[];
  }

  /** Changes the members, here or on the leader; resolves to why it was refused, or null. */
  async changeMembers(change: StoreMemberChange): Promise<StoreMemberRefusal | null> {
    const refusal = await this.#native.changeMembers(JSON.stringify(change));
    return JSON.parse(refusal) as StoreMemberRefusal | null;
  }

  /** Replaces the users of the Redis protocol; how many connections were closed for it. */
  setAccounts(accounts: StoreOptions['accounts']): number {
    return this.#native.setAccounts(JSON.stringify(accounts));
  }

  /** Reads the certificate files again now; whether any had changed. */
  reloadCertificates(): Promise<boolean> {
    return this.#native.reloadCertificates();
  }

  status(): StoreStatus {
    return JSON.parse(this.#native.status()) as StoreStatus;
  }

  /** Hands leadership to `to`, or to the voter that is furthest. */
  transferLeadership(to: number | null = null): Promise<void> {
    return this.#native.transferLeadership(to);
  }

  metrics(): string {
    return this.#native.metrics();
  }

  /** All of the state as of one entry, while this node goes on serving; one at a time. */
  async backup(): Promise<AsyncGenerator<Buffer>> {
    return readBackup(await this.#native.backup());
  }

  close(): Promise<void> {
    return this.#native.shutdown();
  }
}

function one(bytes: Buffer): Reply {
  const reply = decodeReplies(bytes)[0];
  if (reply instanceof Error) {
    throw reply;
  }
  return reply ?? null;
}

/** The SIP engine of this node. */
export class SipEngine {
  readonly #native: NativeSip;

  private constructor(native: NativeSip) {
    this.#native = native;
  }

  /** Binds its listeners at once; without a store it leads from the start and keeps nothing. */
  static start(
    options: SipOptions,
    store: Store | null,
    listener: (events: SipEvent[]) => void,
  ): SipEngine {
    const native = addon().startSip(
      JSON.stringify(options),
      store === null ? null : Store.native(store),
      (batch) => listener(JSON.parse(batch) as SipEvent[]),
    );
    return new SipEngine(native);
  }

  /** For `Vip`, which tells the engine to lead before it takes the address. */
  static native(engine: SipEngine): NativeSip {
    return engine.#native;
  }

  /** The listeners with the ports they really have. */
  addresses(): string[] {
    return this.#native.addresses();
  }

  status(): SipStatus {
    return JSON.parse(this.#native.status()) as SipStatus;
  }

  metrics(): string {
    return this.#native.metrics();
  }

  /** What this node said and heard of calls, each named by its id or by a Call-ID. */
  trace(ids: readonly string[]): CallTrace {
    return JSON.parse(this.#native.trace([...ids])) as CallTrace;
  }

  close(): void {
    this.#native.shutdown();
  }
}

/** The holder of the virtual address on this node. */
export class Vip {
  readonly #native: NativeVip;

  private constructor(native: NativeVip) {
    this.#native = native;
  }

  /** Removes left-over addresses, then follows the store's leadership by itself. */
  static start(options: VipOptions, store: Store, engine: SipEngine | null): Vip {
    const sip = engine === null ? null : SipEngine.native(engine);
    return new Vip(addon().startVip(JSON.stringify(options), Store.native(store), sip));
  }

  /** Drops the address now; returns when it is gone. */
  release(): void {
    this.#native.release();
  }

  status(): VipStatus {
    return JSON.parse(this.#native.status()) as VipStatus;
  }

  close(): void {
    this.#native.shutdown();
  }
}

/** The media engine of this server. */
export class MediaEngine {
  readonly #native: NativeMedia;

  private constructor(native: NativeMedia) {
    this.#native = native;
  }

  static start(options: MediaOptions, listener: (events: MediaEvent[]) => void): MediaEngine {
    const native = addon().startMedia(JSON.stringify(options), (batch) =>
      listener(JSON.parse(batch) as MediaEvent[]),
    );
    return new MediaEngine(native);
  }

  /** One NG message, the same bytes as over UDP. */
  ng(message: Buffer): Buffer {
    return this.#native.ng(message);
  }

  /**
   * What taps hear goes to `listener`: one batch for all taps, 25 times a second, and none while
   * nobody speaks. Taps that were there before end. A listener that falls behind by two thirds of
   * a second loses sound, which is counted.
   */
  onSound(listener: (chunks: TapChunk[]) => void): void {
    this.#native.onSound((batch) => listener(readChunks(batch)));
  }

  /** Listens to a party of a call, whatever its codec and encryption; the number of the tap. */
  tap(callId: string, tag: string, options: { rate: 8000 | 16_000 | 48_000 }): number {
    return this.#native.tap(callId, tag, options.rate);
  }

  /** Ends a tap; false when it has ended before. Its last chunk is empty. */
  untap(tap: number): boolean {
    return this.#native.untap(tap);
  }

  ngAddress(): string | null {
    return this.#native.ngAddress();
  }

  /** Writes a call down for another media server. Secret: keys are in it. */
  snapshot(callId: string): string {
    return this.#native.snapshot(callId);
  }

  /** Goes on with a call that another one has written down, once its address is here. */
  restore(state: string): void {
    this.#native.restore(state);
  }

  /** Brings a floating address here: whoever does that knows that it is nowhere else. */
  activate(address: string): void {
    this.#native.activate(address);
  }

  /** Lets a floating address go; returns when it is gone, false when it was not here. */
  deactivate(address: string): boolean {
    return this.#native.deactivate(address);
  }

  /** Floating addresses that are here. */
  held(): HeldAddress[] {
    return JSON.parse(this.#native.held()) as HeldAddress[];
  }

  stats(): MediaStats {
    return JSON.parse(this.#native.stats()) as MediaStats;
  }

  metrics(): string {
    return this.#native.metrics();
  }

  close(): void {
    this.#native.shutdown();
  }
}

/** Begins to make the directory of a node that does not run from a backup. */
export async function restoreBackup(options: RestoreOptions): Promise<BackupSink> {
  return new BackupSink(await addon().beginRestore(JSON.stringify(options)));
}

/** Begins to check a backup. */
export function checkBackup(): BackupSink {
  return new BackupSink(addon().checkBackup());
}

/** A new certificate authority, PEM. */
export function createAuthority(): { certificate: string; key: string } {
  return addon().createAuthority();
}

/** The host name by which a certificate stands for a node of the store. */
export function nodeName(id: number): string {
  return `node-${id}.raftpbx`;
}

/** A certificate for a server or a node, PEM. */
export function issueCertificate(
  authority: { certificate: string; key: string },
  name: string,
  addresses: readonly string[],
  names: readonly string[],
): { certificate: string; key: string } {
  return addon().issueCertificate(
    authority.certificate,
    authority.key,
    name,
    [...addresses],
    [...names],
  );
}

/** Sends the Rust side's log lines to `listener`; once a process. */
export function startNativeLog(level: string, listener: (lines: LogLine[]) => void): void {
  addon().startLog(level, (batch) => listener(JSON.parse(batch) as LogLine[]));
}

/** From now on the Rust side's lines at `level` or above are sent. */
export function setNativeLogLevel(level: string): void {
  addon().setLogLevel(level);
}
