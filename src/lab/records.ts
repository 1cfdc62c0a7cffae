/** What a lab writes down for people and scripts: who runs where, and the secrets. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { labFiles } from './plan.ts';

/** `.lab/lab.json`. */
export interface LabRecord {
  vip: string[];
  servers: LabServerRecord[];
}
export interface LabServerRecord {
  name: string;
  roles: string[];
  namespace: string;
  address: string;
  /** 0 while it was stopped on purpose. */
  pid: number;
}

/** `.lab/credentials.json`, mode 600. */
export interface Credentials {
  admin: { user: string; password: string };
  /** What the servers use. */
  store: { user: string; password: string };
  /** What a person uses with `redis-cli`; also the one without a name. */
  operator: { user: string; password: string };
  /** What looks at `INFO`. */
  metrics: { user: string; password: string };
  drachtio: { secret: string };
  users: { name: string; password: string }[];
}

/** The record of a lab, null when there is none. */
export function readLab(directory: string): LabRecord | null {
  const file = labFiles(directory).lab;
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as LabRecord) : null;
}

export function writeLab(directory: string, record: LabRecord): void {
  writeFile(labFiles(directory).lab, `${JSON.stringify(record, null, 2)}\n`, 0o644);
}

export function readCredentials(file: string): Credentials {
  return JSON.parse(readFileSync(file, 'utf8')) as Credentials;
}

/** Writes a file as a whole or not at all, with its mode from the first byte on. */
export function writeFile(file: string, content: string | Buffer, mode: number): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  const fresh = `${file}.new`;
  writeFileSync(fresh, content, { mode });
  renameSync(fresh, file);
}
