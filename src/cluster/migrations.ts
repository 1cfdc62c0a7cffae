/**
 * The tables of the database. Migrations are entries of the log: each is applied once on every
 * Call Manager, in order, whoever sends it and however often. A published one never changes.
 */
import type { Store } from '../native/index.ts';

/** Number -> what it does. Add at the end. */
export const migrations: readonly string[] = [
  `CREATE TABLE users (
     name TEXT PRIMARY KEY,
     display_name TEXT NOT NULL,
     ha1_md5 TEXT NOT NULL,
     ha1_sha256 TEXT NOT NULL,
     created_at INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE TABLE cdrs (
     id TEXT PRIMARY KEY,
     from_user TEXT NOT NULL,
     to_user TEXT NOT NULL,
     started_at INTEGER NOT NULL,
     answered_at INTEGER,
     ended_at INTEGER NOT NULL,
     result TEXT NOT NULL,
     ended_by TEXT NOT NULL
   ) WITHOUT ROWID;
   CREATE INDEX cdrs_by_time ON cdrs (started_at, id);`,
];

/** Brings the database up to date; for the leader, at the start of each term. */
export async function migrate(store: Store): Promise<void> {
  for (const [index, sql] of migrations.entries()) {
    await store.execute(['SQL.MIGRATE', index + 1, sql]);
  }
}
