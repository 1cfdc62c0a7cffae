/**
 * Every error a user, an administrator or a phone can meet: one table, the same codes in the
 * API, the CLI, the log and `docs/reference/errors.md`.
 */

interface ErrorEntry {
  /** What happened, in one sentence without a full stop. */
  message: string;
  /** The SIP answer a phone gets. */
  sipStatus: number;
  /** The HTTP answer an API client gets. */
  httpStatus: number;
  /** What to do about it. */
  fix: string;
}

export const errorTable = {
  PBX_CALLER_UNKNOWN: {
    message: 'the caller did not authenticate as a user of this cluster',
    sipStatus: 403,
    httpStatus: 403,
    fix: 'register the phone, or check its user name and password',
  },
  PBX_CALL_MALFORMED: {
    message: 'the request cannot start a call',
    sipStatus: 400,
    httpStatus: 400,
    fix: 'the INVITE needs Contact, From and To headers as RFC 3261 section 8.1.1 describes',
  },
  PBX_OFFER_MISSING: {
    message: 'the INVITE carries no session description',
    sipStatus: 488,
    httpStatus: 400,
    fix: 'let the phone send its offer in the INVITE',
  },
  PBX_EXTENSION_REQUIRED: {
    message: 'the phone requires a SIP extension that is not supported',
    sipStatus: 420,
    httpStatus: 400,
    fix: 'set the named option tag to supported instead of required in the phone',
  },
  PBX_USER_UNKNOWN: {
    message: 'there is no user of that name',
    sipStatus: 404,
    httpStatus: 404,
    fix: "list the users with 'raftpbx get users'",
  },
  PBX_USER_OFFLINE: {
    message: 'the user has no registered device',
    sipStatus: 480,
    httpStatus: 409,
    fix: "see the devices with 'raftpbx get registrations'",
  },
  PBX_CALL_LOOP: {
    message: 'the call leads back to its caller',
    sipStatus: 482,
    httpStatus: 409,
    fix: 'dial another user',
  },
  PBX_TOO_MANY_HOPS: {
    message: 'the call was forwarded too often',
    sipStatus: 483,
    httpStatus: 409,
    fix: 'look for users or trunks that forward to each other',
  },
  PBX_TOO_MANY_BRANCHES: {
    message: 'the call would ring in more places than its Max-Breadth allows',
    sipStatus: 440,
    httpStatus: 409,
    fix: 'look for users or trunks that forward to several others, which forward back',
  },
  PBX_CALL_LIMIT: {
    message: 'the cluster carries as many calls as it may',
    sipStatus: 503,
    httpStatus: 503,
    fix: 'retry later; the limit is maxCalls in src/domain/limits.ts',
  },
  PBX_CALL_GONE: {
    message: 'the call has ended',
    sipStatus: 481,
    httpStatus: 404,
    fix: "list the calls with 'raftpbx get calls'",
  },
  PBX_NO_ANSWER: {
    message: 'nobody answered',
    sipStatus: 480,
    httpStatus: 409,
    fix: 'try again later',
  },
  PBX_MEDIA_NONE: {
    message: 'no media server is up',
    sipStatus: 503,
    httpStatus: 503,
    fix: "look at the servers with 'raftpbx status' and start a media server",
  },
  PBX_MEDIA_SILENT: {
    message: 'the media server did not answer',
    sipStatus: 503,
    httpStatus: 503,
    fix: "check the media server with 'raftpbx status'",
  },
  PBX_MEDIA_REFUSED: {
    message: 'the media server refused the session description',
    sipStatus: 488,
    httpStatus: 502,
    fix: 'compare the codecs and transports of both phones',
  },
  PBX_STORE_UNAVAILABLE: {
    message: 'the store has no majority',
    sipStatus: 503,
    httpStatus: 503,
    fix: "bring back Call Managers until more than half are up; see 'raftpbx status'",
  },
  PBX_ENGINE_LOST: {
    message: 'the SIP engine refused or lost a message',
    sipStatus: 500,
    httpStatus: 500,
    fix: 'see the log of the Call Manager',
  },
  PBX_TRUNK_UNKNOWN: {
    message: 'there is no trunk of that name',
    sipStatus: 404,
    httpStatus: 404,
    fix: "list the trunks with 'raftpbx get trunks'",
  },
  PBX_TRUNK_EXISTS: {
    message: 'there is already a trunk of that name',
    sipStatus: 409,
    httpStatus: 409,
    fix: 'choose another name or remove the trunk first',
  },
  PBX_TRUNK_INVALID: {
    message: 'the trunk cannot be like that',
    sipStatus: 400,
    httpStatus: 400,
    fix: "see 'raftpbx trunk add --help'",
  },
  PBX_TRUNK_NONE: {
    message: 'no trunk of the route is enabled',
    sipStatus: 503,
    httpStatus: 503,
    fix: "look at 'raftpbx get trunks' and enable one",
  },
  PBX_TRUNK_FULL: {
    message: 'the trunk carries as many calls as it may',
    sipStatus: 503,
    httpStatus: 503,
    fix: 'retry later, or add the trunk again with more --channels',
  },
  PBX_TRUNK_LIMIT: {
    message: 'there are as many trunks as there may be',
    sipStatus: 503,
    httpStatus: 409,
    fix: 'remove a trunk; the limit is trunksMax in src/domain/limits.ts',
  },
  PBX_ROUTE_NONE: {
    message: 'no route is for this number',
    sipStatus: 404,
    httpStatus: 404,
    fix: "list the routes with 'raftpbx get inbound-routes'",
  },
  PBX_ROUTE_INVALID: {
    message: 'the route cannot be like that',
    sipStatus: 400,
    httpStatus: 400,
    fix: "see 'raftpbx route out --help' and 'raftpbx route in --help'",
  },
  PBX_ROUTE_UNKNOWN: {
    message: 'there is no route with that pattern',
    sipStatus: 404,
    httpStatus: 404,
    fix: "list them with 'raftpbx get outbound-routes' and 'raftpbx get inbound-routes'",
  },
  PBX_ROUTE_LIMIT: {
    message: 'there are as many routes as there may be',
    sipStatus: 503,
    httpStatus: 409,
    fix: 'use patterns; the limit is routesMax in src/domain/limits.ts',
  },
  PBX_BAN_UNKNOWN: {
    message: 'nobody is banned at that address',
    sipStatus: 404,
    httpStatus: 404,
    fix: "list the bans with 'raftpbx sip bans'",
  },
  PBX_USER_NAME_INVALID: {
    message: 'a user name has 1 to 64 of the characters a-z A-Z 0-9 . _ + -',
    sipStatus: 400,
    httpStatus: 400,
    fix: 'choose another name',
  },
  PBX_PASSWORD_INVALID: {
    message: 'a password has 1 to 128 printable characters',
    sipStatus: 400,
    httpStatus: 400,
    fix: 'choose another password',
  },
  PBX_USER_EXISTS: {
    message: 'there is already a user of that name',
    sipStatus: 409,
    httpStatus: 409,
    fix: 'choose another name or delete the user first',
  },
  PBX_TOO_MANY_USERS: {
    message: 'one request may add 50000 users at most',
    sipStatus: 413,
    httpStatus: 413,
    fix: 'split the request',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

/** An expected failure: a code of the table and what is special about this case. */
export class PbxError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, detail = '', options?: ErrorOptions) {
    super(
      detail === '' ? errorTable[code].message : `${errorTable[code].message}: ${detail}`,
      options,
    );
    this.name = 'PbxError';
    this.code = code;
  }

  get sipStatus(): number {
    return errorTable[this.code].sipStatus;
  }

  get httpStatus(): number {
    return errorTable[this.code].httpStatus;
  }

  get fix(): string {
    return errorTable[this.code].fix;
  }
}

/** Expected failures are values, bugs are exceptions. */
export type Result<Value, Failure = PbxError> =
  | { ok: true; value: Value }
  | { ok: false; error: Failure };

export function succeed<Value>(value: Value): Result<Value, never> {
  return { ok: true, value };
}

export function fail(code: ErrorCode, detail = ''): Result<never> {
  return { ok: false, error: new PbxError(code, detail) };
}
