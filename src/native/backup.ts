/** Backups across the door to the addon: plain bytes on this side, checks on the other. */

/** What a backup is, and of when; times are Unix milliseconds. */
export interface BackupHead {
  version: string;
  node: number;
  index: number;
  term: number;
  takenMs: number;
  clockMs: number;
  records: number;
  sqlBytes: number;
}

/** A backup that was read to its end. */
export interface BackupReport {
  head: BackupHead;
  end: { records: number; sqlBytes: number; sha256: string };
  /** Where a restore has put what was in the directory before. */
  aside: string | null;
}

export interface RestoreOptions {
  /** The node's directory. */
  directory: string;
  /** Every voter of the new cluster. */
  peers: { id: number; name: string; raft: string; resp: string | null }[];
  /** Whether what is there is moved aside. */
  replace: boolean;
}

export interface NativeBackup {
  head(): string;
  read(): Promise<Buffer | null>;
}

export interface NativeRestore {
  write(bytes: Buffer): Promise<void>;
  finish(): Promise<string>;
  abandon(): void;
}

/** Takes the bytes of a backup, to check them or to make a node's directory of them. */
export class BackupSink {
  readonly #native: NativeRestore;

  constructor(native: NativeRestore) {
    this.#native = native;
  }

  /** Rejects as soon as something is wrong; then nothing has changed. */
  write(bytes: Buffer): Promise<void> {
    return this.#native.write(bytes);
  }

  /** Resolves when the whole was right and, for a restore, is in its place. */
  async finish(): Promise<BackupReport> {
    return JSON.parse(await this.#native.finish()) as BackupReport;
  }

  /** Removes what was gathered so far. */
  abandon(): void {
    this.#native.abandon();
  }
}

/** The bytes of a backup that is being taken. */
export async function* readBackup(native: NativeBackup): AsyncGenerator<Buffer> {
  for (let piece = await native.read(); piece !== null; piece = await native.read()) {
    yield piece;
  }
}
