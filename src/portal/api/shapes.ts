/**
 * What the API says and takes. These schemas check requests and answers, make the OpenAPI
 * document, and are the types of the command line. Times are ISO 8601 in UTC.
 */
import { z } from 'zod';
import { limits } from '../../domain/limits.ts';

const time = z.iso.datetime();

export const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(limits.listedMax).default(100),
  after: z.string().min(1).max(512).optional(),
});
/** Which page: at most `limit` entries after the key `after`. */
export interface PageQuery {
  limit: number;
  after?: string;
}

/** A page of entries; `next` is the `after` of the following page. */
export function pageOf<Entry extends z.ZodType>(entry: Entry) {
  return z.object({ items: z.array(entry), next: z.string().nullable() });
}
export interface Page<Entry> {
  items: Entry[];
  next: string | null;
}

export const serverState = z.enum(['up', 'draining', 'disabled', 'down']);

export const serverShape = z.object({
  name: z.string(),
  roles: z.array(z.string()),
  address: z.string(),
  state: serverState,
  load: z.number().describe('sessions now'),
  capacity: z.number().describe('sessions at most, 0 while it is down'),
});
export type ServerEntry = z.output<typeof serverShape>;

export const storeShape = z
  .object({
    leaderSince: time.nullable(),
    nodes: z.array(
      z.object({
        id: z.number(),
        name: z.string(),
        role: z.string(),
        behind: z.number().nullable().describe('entries not in its log yet; only a leader knows'),
        heardMs: z.number().nullable().describe('milliseconds since its last answer'),
        problem: z.string().nullable().describe('why it cannot be reached, when it said so'),
      }),
    ),
    commitLag: z.number().describe('entries in the log that are not committed'),
    applyLag: z.number().describe('committed entries that are not applied'),
    snapshotAt: time.nullable(),
    logBytes: z.number(),
    sqlBytes: z.number(),
    fsyncP99Us: z.number().describe('99 of 100 flushes took at most so long since the start'),
    commitP99Us: z.number(),
  })
  .describe('the store as the server that answers knows it');

export const alarmShape = z.object({ code: z.string(), text: z.string(), fix: z.string() });

export const statusShape = z.object({
  leader: z.string().nullable(),
  term: z.number(),
  vip: z.object({ address: z.string().nullable(), holder: z.string().nullable() }),
  servers: z.array(z.object({ name: z.string(), roles: z.array(z.string()), state: serverState })),
  registrations: z.number(),
  calls: z.number(),
  alerts: z.number().describe('servers that are not up'),
  alarms: z
    .array(alarmShape.extend({ server: z.string().describe('the server that tells it') }))
    .describe('what needs a person, on any Call Manager'),
  store: storeShape,
});
export type StatusEntry = z.output<typeof statusShape>;

export const callShape = z.object({
  id: z.string(),
  from: z.string(),
  to: z.string(),
  state: z.enum(['ringing', 'answered']),
  startedAt: time,
  answeredAt: time.nullable(),
  mediaServer: z.string().nullable().describe('the server that carries the audio'),
  trunk: z.string().nullable().describe('the one it goes out over, else the one it came over'),
});
export type CallEntry = z.output<typeof callShape>;

export const registrationShape = z.object({
  user: z.string(),
  contact: z.string(),
  received: z.string(),
  userAgent: z.string().nullable(),
  registeredAt: time,
  expiresAt: time,
  answers: z.boolean().describe('whether it answers OPTIONS, as far as the leader knows'),
});
export type RegistrationEntry = z.output<typeof registrationShape>;

export const banShape = z.object({
  key: z.string(),
  address: z.string().describe('an IPv4 address, or the first address of an IPv6 /64'),
  user: z.string().nullable().describe('only requests in this name, when it is not null'),
  since: time,
  until: time,
  times: z.number().describe('how many bans there were in a row'),
});
export type BanEntry = z.output<typeof banShape>;

const traceId = z.string().min(1).max(1024).describe('id of a call, or a Call-ID');
export const traceQuery = z.strictObject({
  id: z.union([traceId, z.array(traceId).min(1).max(limits.tracedIdsMax)]),
  here: z.enum(['true', 'false']).default('false').describe('do not ask the other servers'),
});

export const traceShape = z.object({
  callIds: z.array(z.string()).describe('Call-IDs of the legs'),
  messages: z.array(
    z.object({
      server: z.string().describe('which Call Manager received or sent it'),
      atUs: z.number().describe('Unix microseconds'),
      sent: z.boolean().describe('else it was received'),
      transport: z.enum(['udp', 'tcp', 'tls', 'ws', 'wss']),
      local: z.string(),
      remote: z.string(),
      length: z.number().describe('bytes on the wire; a long message is cut in text'),
      encoding: z.enum(['utf8', 'latin1']).describe('what turns text into bytes'),
      text: z.string().describe('the message; credentials, keys and texts are masked'),
    }),
  ),
  skipped: z.number().describe('messages that were too many to keep'),
  servers: z.array(
    z.object({ name: z.string(), problem: z.string().nullable().describe('why it is missing') }),
  ),
});
export type TraceEntry = z.output<typeof traceShape>;
export type TraceMessage = TraceEntry['messages'][number];

export const userShape = z.object({
  name: z.string(),
  displayName: z.string(),
  createdAt: time,
  devices: z.number().describe('devices registered now'),
});
export type UserEntry = z.output<typeof userShape>;

export const userName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, {
  error: 'may have only letters, digits and . _ + -, 64 at most',
});

export const newUserShape = z.strictObject({
  name: userName,
  password: z.string().min(1).max(128),
  displayName: z.string().min(1).max(128).optional(),
});

export const newUsersShape = z.strictObject({
  users: z.array(newUserShape).min(1).max(limits.usersPerRequest),
});

export const cdrShape = z.object({
  id: z.string(),
  from: z.string(),
  to: z.string(),
  startedAt: time,
  answeredAt: time.nullable(),
  endedAt: time,
  result: z.enum(['answered', 'busy', 'no-answer', 'cancelled', 'failed']),
  endedBy: z.enum(['caller', 'callee', 'system']),
  fromTrunk: z.string().nullable().describe('the trunk it came over'),
  toTrunk: z.string().nullable().describe('the trunk it went out over'),
});
export type CdrEntry = z.output<typeof cdrShape>;

const memberId = z.int().min(1).describe('id of a node, never used twice');

const memberServer = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/),
  address: z.union([z.ipv4(), z.ipv6()]),
});

export const memberChangeShape = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('add'), id: memberId, server: memberServer }),
  z.strictObject({ type: z.literal('promote'), id: memberId }),
  z.strictObject({ type: z.literal('remove'), id: memberId }),
  z.strictObject({
    type: z.literal('replace'),
    old: memberId,
    new: memberId,
    server: memberServer.optional().describe('where the old one was when left away'),
  }),
]);
export type MemberChange = z.output<typeof memberChangeShape>;

export const memberShape = z.object({
  id: z.number(),
  name: z.string(),
  raft: z.string(),
  resp: z.string().nullable(),
  voter: z.boolean().describe('a learner receives the log and does not vote'),
  leader: z.boolean(),
  reachable: z.boolean(),
  problem: z.string().nullable().describe('why it cannot be reached, when it said so'),
  matched: z.number().nullable().describe('last entry known to be in its log'),
});
export type MemberEntry = z.output<typeof memberShape>;

export const membersShape = z.object({
  items: z.array(memberShape),
  alarms: z.array(alarmShape).describe('of the server that answers'),
  changes: z.array(memberChangeShape).describe('what differs from the configuration'),
});
export type MembersEntry = z.output<typeof membersShape>;

export const errorShape = z.object({ code: z.string(), message: z.string(), fix: z.string() });
export type ErrorView = z.output<typeof errorShape>;
