/**
 * The questions that lists ask the tables. Pure: text and values. Each of them walks an index from
 * where the page begins, so that a page of ten million rows costs what a page of a hundred does;
 * `test/unit/call-manager/listings.test.ts` holds them to it.
 */
import type { SqlValue } from '../native/index.ts';

/** A statement and what is bound to it. */
export interface Question {
  sql: string;
  args: SqlValue[];
}

/** Which call records: the newest first, from a place on, those of one user when one is named. */
export interface CdrFilter {
  /** Unix milliseconds: those that ended then with an id after `afterId`, and older ones. */
  before: number;
  afterId: string;
  /** Who called or was called. */
  user: string | null;
  limit: number;
}

/** Stands behind every text. */
export const lastText = '\u{10ffff}';

/** One page of call records. */
export function cdrPage({ before, afterId, user, limit }: CdrFilter): Question {
  const place = 'ended_at <= ? AND (ended_at < ? OR id > ?)';
  const order = 'ORDER BY ended_at DESC, id LIMIT ?';
  const from = [before, before, afterId];
  if (user === null) {
    return { sql: `SELECT * FROM cdrs WHERE ${place} ${order}`, args: [...from, limit] };
  }
  // Two walks, one an index, and a merge of two pages; a call to oneself is in both.
  const walk = (column: string) =>
    `SELECT * FROM (SELECT * FROM cdrs WHERE ${column} = ? AND ${place} ${order})`;
  const page = [user, ...from, limit];
  return {
    sql: `${walk('from_user')} UNION ${walk('to_user')} ${order}`,
    args: [...page, ...page, limit],
  };
}

/** The record of one call. */
export function cdrOf(id: string): Question {
  return { sql: 'SELECT * FROM cdrs WHERE id = ?', args: [id] };
}

/** One page of users in the order of their names, those that begin with `prefix`. */
export function userPage(after: string, prefix: string, limit: number): Question {
  const columns = 'name, display_name, created_at';
  // One lower bound: of two, SQLite would walk from the one it read first.
  const [from, first] = after < prefix ? ['>=', prefix] : ['>', after];
  return {
    sql: `SELECT ${columns} FROM users WHERE name ${from} ? AND name < ? ORDER BY name LIMIT ?`,
    args: [first, `${prefix}${lastText}`, limit],
  };
}

/** Whether there is a user of this name. */
export function userNamed(name: string): Question {
  return { sql: 'SELECT 1 FROM users WHERE name = ?', args: [name] };
}
