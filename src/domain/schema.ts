/** The tables in the log, as migrations: applied once each, in this order, on every node. */

export interface Migration {
  version: number;
  sql: string;
}

export const migrations: readonly Migration[] = [
  {
    version: 1,
    sql: `
      CREATE TABLE users (
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
      CREATE INDEX cdrs_by_end ON cdrs (ended_at);
      CREATE INDEX cdrs_by_from ON cdrs (from_user, ended_at);
      CREATE INDEX cdrs_by_to ON cdrs (to_user, ended_at);
    `,
  },
  {
    version: 2,
    sql: `
      CREATE TABLE trunks (
        name TEXT PRIMARY KEY,
        mode TEXT NOT NULL,
        proxy TEXT NOT NULL,
        transport TEXT NOT NULL,
        domain TEXT NOT NULL,
        auth_user TEXT NOT NULL,
        password TEXT NOT NULL,
        caller_id TEXT NOT NULL,
        channels_max INTEGER NOT NULL,
        sources TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        created_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE outbound_routes (
        pattern TEXT PRIMARY KEY,
        strip INTEGER NOT NULL,
        prepend TEXT NOT NULL,
        trunks TEXT NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE inbound_routes (
        pattern TEXT NOT NULL,
        trunk TEXT NOT NULL,
        target TEXT NOT NULL,
        strip INTEGER NOT NULL,
        prepend TEXT NOT NULL,
        PRIMARY KEY (pattern, trunk)
      ) WITHOUT ROWID;
      ALTER TABLE cdrs ADD COLUMN from_trunk TEXT;
      ALTER TABLE cdrs ADD COLUMN to_trunk TEXT;
    `,
  },
];
