/** What the Rust addon (`crates/bridge`) exports: the only module that loads it. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { NativeBackup, NativeRestore } from './backup.ts';

export interface NativeStore {
  submit(requests: Buffer): Promise<Buffer>;
  submitAsLeader(id: number, request: Buffer, patienceMs: number): void;
  onSettled(sink: () => void): void;
  takeSettled(): Buffer;
  read(command: Buffer): Buffer;
  readLinearizable(command: Buffer): Promise<Buffer>;
  scan(prefix: string, after: string | null, limit: number): { key: string; value: string }[];
  count(prefix: string): number;
  query(sql: string, args: string): string;
  watch(prefixes: string[], sink: (batch: string) => void): void;
  members(): string;
  changeMembers(change: string): Promise<string>;
  setAccounts(accounts: string): number;
  reloadCertificates(): Promise<boolean>;
  status(): string;
  transferLeadership(to: number | null): Promise<void>;
  metrics(): string;
  backup(): Promise<NativeBackup>;
  shutdown(): Promise<void>;
}

export interface NativeSip {
  addresses(): string[];
  trace(ids: string[]): string;
  status(): string;
  metrics(): string;
  shutdown(): void;
}

export interface NativeVip {
  release(): void;
  status(): string;
  shutdown(): void;
}

export interface NativeMedia {
  ng(message: Buffer): Buffer;
  snapshot(callId: string): string;
  restore(state: string): void;
  activate(address: string): void;
  deactivate(address: string): boolean;
  held(): string;
  onSound(sink: (batch: Buffer) => void): void;
  tap(callId: string, tag: string, rateHz: number): number;
  untap(tap: number): boolean;
  ngAddress(): string | null;
  stats(): string;
  metrics(): string;
  shutdown(): void;
}

interface Addon {
  openStore(options: string): Promise<NativeStore>;
  startSip(options: string, store: NativeStore | null, sink: (batch: string) => void): NativeSip;
  startVip(options: string, store: NativeStore, sip: NativeSip | null): NativeVip;
  startMedia(options: string, sink: (batch: string) => void): NativeMedia;
  createAuthority(): { certificate: string; key: string };
  issueCertificate(
    authorityCertificate: string,
    authorityKey: string,
    name: string,
    addresses: string[],
    names: string[],
  ): { certificate: string; key: string };
  beginRestore(options: string): Promise<NativeRestore>;
  checkBackup(): NativeRestore;
  startLog(level: string, sink: (batch: string) => void): void;
  setLogLevel(level: string): void;
}

const addonPath = fileURLToPath(new URL('./raftpbx.node', import.meta.url));

let loaded: Addon | undefined;

/** The addon, loaded once. */
export function addon(): Addon {
  try {
    loaded ??= createRequire(import.meta.url)(addonPath) as Addon;
  } catch (cause) {
    throw new Error(`PBX_ADDON_MISSING: cannot load ${addonPath}; run 'make build'`, { cause });
  }
  return loaded;
}
