/** Call detail records: one per call, written in the entry that ends the call. Pure. */

export type CdrResult = 'answered' | 'busy' | 'no-answer' | 'cancelled' | 'failed';
export type EndedBy = 'caller' | 'callee' | 'system';

/** Times are Unix milliseconds. */
export interface Cdr {
  id: string;
  from: string;
  to: string;
  startedAt: number;
  answeredAt: number | null;
  endedAt: number;
  result: CdrResult;
  endedBy: EndedBy;
  /** Trunks it came from and went out over. */
  fromTrunk: string | null;
  toTrunk: string | null;
}

/** The shape of the API and of `raftpbx get cdrs -o json`: times in ISO 8601 UTC. */
export interface CdrView {
  id: string;
  from: string;
  to: string;
  startedAt: string;
  answeredAt: string | null;
  endedAt: string;
  result: CdrResult;
  endedBy: EndedBy;
  fromTrunk: string | null;
  toTrunk: string | null;
}

/** A row of the table `cdrs`. */
export interface CdrRow {
  id: string;
  from_user: string;
  to_user: string;
  started_at: number;
  answered_at: number | null;
  ended_at: number;
  result: CdrResult;
  ended_by: EndedBy;
  from_trunk: string | null;
  to_trunk: string | null;
}

/** A call counts once, however often its end is committed: the call's id is the key. */
export const insertCdr =
  'INSERT OR IGNORE INTO cdrs (id, from_user, to_user, started_at, answered_at, ended_at, ' +
  'result, ended_by, from_trunk, to_trunk) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';

export function cdrArguments(cdr: Cdr): (string | number | null)[] {
  return [
    cdr.id,
    cdr.from,
    cdr.to,
    cdr.startedAt,
    cdr.answeredAt,
    cdr.endedAt,
    cdr.result,
    cdr.endedBy,
    cdr.fromTrunk,
    cdr.toTrunk,
  ];
}

export function viewCdr(row: CdrRow): CdrView {
  return {
    id: row.id,
    from: row.from_user,
    to: row.to_user,
    startedAt: new Date(row.started_at).toISOString(),
    answeredAt: row.answered_at === null ? null : new Date(row.answered_at).toISOString(),
    endedAt: new Date(row.ended_at).toISOString(),
    result: row.result,
    endedBy: row.ended_by,
    fromTrunk: row.from_trunk,
    toTrunk: row.to_trunk,
  };
}

/** What a call that got this final status instead of an answer is recorded as. */
export function resultOfStatus(status: number): CdrResult {
  switch (status) {
    case 486:
    case 600:
    case 603:
      return 'busy';
    case 408:
    case 480:
      return 'no-answer';
    case 487:
      return 'cancelled';
    default:
      return 'failed';
  }
}

/** The answer to an INVITE that comes again for a call whose end is already recorded. */
export function statusOfResult(result: CdrResult): number {
  switch (result) {
    case 'busy':
      return 486;
    case 'no-answer':
      return 480;
    case 'cancelled':
      return 487;
    case 'answered':
    case 'failed':
      return 500;
    default:
      return result satisfies never;
  }
}
