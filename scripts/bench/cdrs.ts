/**
 * Ten million call records and a million users: how fast they come in, and what the lists of the
 * API and the command line cost on them. The store runs in this process, alone: reading is local
 * on every Call Manager, so more of them would not change the figures.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  cdrOf,
  cdrPage,
  lastText,
  type Question,
  userNamed,
  userPage,
} from '../../src/call-manager/listings.ts';
import { type Cdr, cdrArguments, insertCdr } from '../../src/domain/cdr.ts';
import { migrations } from '../../src/domain/schema.ts';
import { Store } from '../../src/native/index.ts';
import { percentile } from './machine.ts';
import { until } from './processes.ts';
import { type PartResult, say } from './report.ts';
import { benchFolder } from './store-cluster.ts';

const { CDRS = '10000000', USERS = '1000000' } = process.env;
const cdrs = Number(CDRS);
const users = Number(USERS);
/** Rows of one statement of the bulk: SQL and values have at most 256 KiB. */
const rowsAtOnce = 1000;
const inFlight = 4;
/** Records that are written as call control does it, one an entry. */
const sampleRows = 20_000;
const sampleInFlight = 64;
const asked = 500;
const firstUser = 1_000_000;
const startMs = Date.UTC(2026, 0, 1);
/** A year of calls. */
const stepMs = (365 * 24 * 3600 * 1000) / cdrs;

export async function measureCdrs(): Promise<PartResult> {
  const folder = benchFolder();
  const store = await open(folder);
  try {
    for (const { version, sql } of migrations) {
      await store.execute(['SQL.MIGRATE', version, sql]);
    }
    const userRate = await fill(users, (from, count) => insertUsers(store, from, count));
    say(`${users} users at ${userRate.toFixed(0)}/s`);
    const bulkRate = await fill(cdrs, (from, count) => insertCdrs(store, from, count));
    say(`${cdrs} call records at ${bulkRate.toFixed(0)}/s`);
    const ownRate = await insertOneByOne(store);
    const questions = questionsOf().map(([name, make]) => [name, ...measure(store, make)]);
    const { sqlBytes } = store.status();
    return {
      part: 'cdrs',
      title: `Tables: ${users.toLocaleString('en')} users, ${cdrs.toLocaleString('en')} call records`,
      notes: [
        `One node in this process; the tables have ${(sqlBytes / 2 ** 30).toFixed(2)} GiB. Each ` +
          `question was asked ${asked} times at random places, pages of 100 rows.`,
        `In bulk, ${rowsAtOnce} rows a statement, ${bulkRate.toFixed(0)} records/s came in; as ` +
          `call control writes them, one an entry with ${sampleInFlight} in flight and all ` +
          `records there, ${ownRate.toFixed(0)}/s.`,
      ],
      head: ['question', 'p50', 'p99', 'longest'],
      rows: questions,
    };
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function open(folder: string): Promise<Store> {
  const raft = '127.0.0.1:23611';
  const store = await Store.open({
    id: 1,
    directory: join(folder, 'store'),
    raftListen: raft,
    peers: [{ id: 1, name: 'bench', raft, resp: null }],
    join: false,
    respListen: [],
    accounts: [],
    respTls: null,
    respIdleS: null,
    tls: null,
    heartbeatMs: 50,
    electionMinMs: 300,
    electionMaxMs: 600,
  });
  await until('this node to lead', 30_000, () => store.status().role === 'leader');
  return store;
}

/** Writes `count` rows in batches, some in flight; rows a second. */
async function fill(
  count: number,
  insert: (from: number, rows: number) => Promise<unknown>,
): Promise<number> {
  const began = performance.now();
  let next = 0;
  const work = async () => {
    while (next < count) {
      const from = next;
      next += rowsAtOnce;
      await insert(from, Math.min(rowsAtOnce, count - from));
      if (from % 1_000_000 === 0 && from > 0) {
        say(`${from} rows, ${(from / ((performance.now() - began) / 1000)).toFixed(0)}/s`);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  return count / ((performance.now() - began) / 1000);
}

function insertUsers(store: Store, from: number, count: number): Promise<unknown> {
  const rows = Array.from({ length: count }, (_, i) => {
    const name = String(firstUser + from + i);
    return [name, `User ${name}`, 'a'.repeat(32), 'b'.repeat(64), startMs];
  });
  const places = rows.map(() => '(?, ?, ?, ?, ?)').join(', ');
  const sql = `INSERT INTO users (name, display_name, ha1_md5, ha1_sha256, created_at) VALUES ${places}`;
  return store.execute(['SQL.EXEC', sql, JSON.stringify(rows.flat())]);
}

function insertCdrs(store: Store, from: number, count: number): Promise<unknown> {
  const rows = Array.from({ length: count }, (_, i) => cdrArguments(cdrAt(from + i)));
  const sql = insertCdr.replace(/\([?, ]+\)$/, (row) => rows.map(() => row).join(', '));
  return store.execute(['SQL.EXEC', sql, JSON.stringify(rows.flat())]);
}

async function insertOneByOne(store: Store): Promise<number> {
  const began = performance.now();
  let next = cdrs;
  const work = async () => {
    while (next < cdrs + sampleRows) {
      const values = JSON.stringify(cdrArguments(cdrAt(next)));
      next += 1;
      await store.execute(['SQL.EXEC', insertCdr, values]);
    }
  };
  await Promise.all(Array.from({ length: sampleInFlight }, work));
  return sampleRows / ((performance.now() - began) / 1000);
}

/** Spreads numbers, so that neighbours in time are no neighbours in the other indexes. */
function spread(number: number, below: number): number {
  return Number((BigInt(number + 1) * 2_654_435_761n) % BigInt(below));
}

/** Ids as call control makes them are random; these are as long, and the same in each run. */
function idAt(number: number): string {
  return `${spread(number, 4_294_967_291).toString(16).padStart(8, '0')}-${number.toString(16)}`;
}

function cdrAt(number: number): Cdr {
  const endedAt = Math.floor(startMs + number * stepMs);
  const answered = number % 5 !== 0;
  return {
    id: idAt(number),
    from: String(firstUser + spread(number, users)),
    to: String(firstUser + spread(number * 7 + 3, users)),
    startedAt: endedAt - 60_000,
    answeredAt: answered ? endedAt - 50_000 : null,
    endedAt,
    result: answered ? 'answered' : 'busy',
    endedBy: 'caller',
    fromTrunk: null,
    toTrunk: null,
  };
}

type Make = (number: number) => Question;

function questionsOf(): [string, Make][] {
  const page = { before: Number.MAX_SAFE_INTEGER, afterId: lastText, user: null, limit: 100 };
  const name = (number: number) => String(firstUser + spread(number, users));
  const some = (number: number) => spread(number, cdrs);
  return [
    ['the newest calls', () => cdrPage(page)],
    [
      'a later page of all calls',
      (n) => cdrPage({ ...page, before: cdrAt(some(n)).endedAt, afterId: idAt(some(n)) }),
    ],
    ['the calls of a user', (n) => cdrPage({ ...page, user: name(n) })],
    [
      'a later page of a user',
      (n) => cdrPage({ ...page, user: name(n), before: cdrAt(some(n)).endedAt }),
    ],
    ['one call by its id', (n) => cdrOf(idAt(some(n)))],
    ['a page of users', (n) => userPage(name(n), '', 100)],
    ['users by prefix', (n) => userPage('', name(n).slice(0, 4), 100)],
    ['one user by name', (n) => userNamed(name(n))],
  ];
}

function measure(store: Store, make: Make): string[] {
  const samples: number[] = [];
  for (let number = 0; number < asked; number += 1) {
    const { sql, args } = make(number * 31);
    const from = performance.now();
    store.query(sql, args);
    samples.push(performance.now() - from);
  }
  return [percentile(samples, 0.5), percentile(samples, 0.99), Math.max(...samples)].map(
    (ms) => `${ms.toFixed(2)} ms`,
  );
}
