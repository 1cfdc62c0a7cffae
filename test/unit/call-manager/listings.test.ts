/** Lists must stay fast at ten million rows: SQLite says how it would answer each question. */
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  cdrOf,
  cdrPage,
  lastText,
  type Question,
  userNamed,
  userPage,
} from '../../../src/call-manager/listings.ts';
import { cdrArguments, insertCdr } from '../../../src/domain/cdr.ts';
import { migrations } from '../../../src/domain/schema.ts';

let database: DatabaseSync;

beforeEach(() => {
  database = new DatabaseSync(':memory:');
  for (const { sql } of migrations) {
    database.exec(sql);
  }
});

function ask<Row>({ sql, args }: Question): Row[] {
  return database.prepare(sql).all(...(args as (string | number)[])) as Row[];
}

/** SQLite's plan, a step a line. */
function planOf({ sql, args }: Question): string {
  return ask<{ detail: string }>({ sql: `EXPLAIN QUERY PLAN ${sql}`, args })
    .map((row) => row.detail)
    .join('\n');
}

const from = { before: 5000, afterId: lastText, limit: 10 };

describe('no question reads a whole table', () => {
  const questions: [string, Question, RegExp][] = [
    ['the newest call records', cdrPage({ ...from, user: null }), /SEARCH cdrs USING.*cdrs_by_end/],
    ['the calls of a user', cdrPage({ ...from, user: '1001' }), /cdrs_by_from[\s\S]*cdrs_by_to/],
    ['one call', cdrOf('id'), /SEARCH cdrs USING PRIMARY KEY/],
    ['a page of users', userPage('1001', '', 10), /SEARCH users USING PRIMARY KEY/],
    ['users by prefix', userPage('', '10', 10), /SEARCH users USING PRIMARY KEY/],
    ['one user', userNamed('1001'), /SEARCH users USING PRIMARY KEY/],
  ];

  it.each(questions)('%s', (_, question, index) => {
    const plan = planOf(question);
    expect(plan).not.toMatch(/SCAN (cdrs|users)/);
    expect(plan).toMatch(index);
  });

  it('nor sorts more than one page: the index already has the order', () => {
    for (const user of [null, '1001']) {
      const plan = planOf(cdrPage({ ...from, user }));
      expect(plan).not.toMatch(/SEARCH cdrs.*\nUSE TEMP B-TREE FOR ORDER BY/);
    }
  });

  it('and the check would see one that does', () => {
    expect(planOf({ sql: 'SELECT * FROM cdrs WHERE result = ?', args: ['busy'] })).toMatch(
      /SCAN cdrs/,
    );
  });
});

describe('the pages', () => {
  const add = (id: string, caller: string, callee: string, endedAt: number) =>
    database.prepare(insertCdr).run(
      ...cdrArguments({
        id,
        from: caller,
        to: callee,
        startedAt: 0,
        answeredAt: null,
        endedAt,
        result: 'busy',
        endedBy: 'callee',
        fromTrunk: null,
        toTrunk: null,
      }),
    );

  it('of a user have each call once, made and received, the newest first', () => {
    add('a', '1', '2', 100);
    add('b', '2', '1', 300);
    add('c', '1', '1', 200);
    add('d', '2', '3', 400);
    const ids = (filter: Partial<typeof from>) =>
      ask<{ id: string }>(cdrPage({ ...from, user: '1', ...filter })).map((row) => row.id);
    expect(ids({})).toEqual(['b', 'c', 'a']);
    expect(ids({ limit: 1 })).toEqual(['b']);
    expect(ids({ before: 300, afterId: 'b' })).toEqual(['c', 'a']);
  });

  it('of users end where the prefix ends', () => {
    for (const name of ['099', '10', '101', '102', '11', '2']) {
      database.prepare('INSERT INTO users VALUES (?, ?, ?, ?, 0)').run(name, name, '', '');
    }
    const names = (after: string, prefix: string) =>
      ask<{ name: string }>(userPage(after, prefix, 2)).map((row) => row.name);
    expect(names('', '10')).toEqual(['10', '101']);
    expect(names('101', '10')).toEqual(['102']);
    expect(names('0', '10')).toEqual(['10', '101']);
    expect(names('11', '')).toEqual(['2']);
  });
});
