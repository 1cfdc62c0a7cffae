/** `raftpbx get NOUN`: lists things, once or as they change. */
import { setTimeout as delay } from 'node:timers/promises';
import { Argument, type Command, Option } from 'commander';
import type {
  CallEntry,
  CdrEntry,
  Page,
  RegistrationEntry,
  ServerEntry,
  UserEntry,
} from '../portal/api/shapes.ts';
import type { InboundEntry, OutboundEntry, TrunkEntry } from '../portal/api/trunk-shapes.ts';
import { CliError } from './failure.ts';
import { type Column, formatDuration, formatJson, formatTable, print } from './output.ts';
import { addTargetOptions, ask, findTarget, type Target, type TargetOptions } from './target.ts';

/** Entries asked for at once. */
const pageEntries = 1000;
/** How often a watched list is asked for. */
const watchPeriodMs = 500;

const since = (time: string | null) =>
  time === null ? null : formatDuration(Date.now() - Date.parse(time));

const servers: Column<ServerEntry>[] = [
  { title: 'NAME', value: (one) => one.name },
  { title: 'ROLES', value: (one) => one.roles.join(',') },
  { title: 'STATE', value: (one) => one.state },
  { title: 'ADDRESS', value: (one) => one.address },
  { title: 'LOAD', value: (one) => one.load, wide: true },
  { title: 'CAPACITY', value: (one) => one.capacity, wide: true },
];

const calls: Column<CallEntry>[] = [
  { title: 'FROM', value: (one) => one.from },
  { title: 'TO', value: (one) => one.to },
  { title: 'STATE', value: (one) => one.state },
  { title: 'AGE', value: (one) => since(one.startedAt) },
  { title: 'MEDIA', value: (one) => one.mediaServer },
  { title: 'TRUNK', value: (one) => one.trunk, wide: true },
  { title: 'ANSWERED', value: (one) => one.answeredAt, wide: true },
  { title: 'ID', value: (one) => one.id, wide: true },
];

const registrations: Column<RegistrationEntry>[] = [
  { title: 'USER', value: (one) => one.user },
  { title: 'RECEIVED', value: (one) => one.received },
  {
    title: 'EXPIRES',
    value: (one) => formatDuration(Date.parse(one.expiresAt) - Date.now()),
  },
  { title: 'PHONE', value: (one) => one.userAgent },
  { title: 'CONTACT', value: (one) => one.contact, wide: true },
];

const users: Column<UserEntry>[] = [
  { title: 'NAME', value: (one) => one.name },
  { title: 'DEVICES', value: (one) => one.devices },
  { title: 'DISPLAY NAME', value: (one) => one.displayName },
  { title: 'CREATED', value: (one) => one.createdAt, wide: true },
];

const cdrs: Column<CdrEntry>[] = [
  { title: 'STARTED', value: (one) => one.startedAt },
  { title: 'FROM', value: (one) => one.from },
  { title: 'TO', value: (one) => one.to },
  { title: 'RESULT', value: (one) => one.result },
  { title: 'TALKED', value: talked },
  { title: 'ENDED BY', value: (one) => one.endedBy },
  { title: 'TRUNK', value: (one) => one.toTrunk ?? one.fromTrunk, wide: true },
  { title: 'ID', value: (one) => one.id, wide: true },
];

function talked(one: CdrEntry): string | null {
  return one.answeredAt === null
    ? null
    : formatDuration(Date.parse(one.endedAt) - Date.parse(one.answeredAt));
}

function yesOrNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

const trunks: Column<TrunkEntry>[] = [
  { title: 'NAME', value: (one) => one.name },
  { title: 'PROXY', value: (one) => `${one.transport}/${one.proxy}` },
  { title: 'STATE', value: (one) => one.state },
  { title: 'UNTIL', value: (one) => one.registeredUntil },
  { title: 'ANSWERS', value: ({ answers }) => (answers === null ? null : yesOrNo(answers)) },
  { title: 'REASON', value: (one) => one.reason },
  { title: 'USER', value: (one) => one.user, wide: true },
  { title: 'CALLER ID', value: (one) => one.callerId, wide: true },
  { title: 'CHANNELS', value: (one) => one.channelsMax, wide: true },
  { title: 'NETWORKS', value: (one) => one.networks.join(','), wide: true },
];

const outboundRoutes: Column<OutboundEntry>[] = [
  { title: 'PATTERN', value: (one) => one.pattern },
  { title: 'STRIP', value: (one) => one.strip },
  { title: 'PREPEND', value: (one) => one.prepend },
  { title: 'TRUNKS', value: (one) => one.trunks.join(',') },
];

const inboundRoutes: Column<InboundEntry>[] = [
  { title: 'PATTERN', value: (one) => one.pattern },
  { title: 'TRUNK', value: (one) => one.trunk || 'any' },
  { title: 'TO', value: (one) => one.to || 'the number' },
  { title: 'STRIP', value: (one) => one.strip },
  { title: 'PREPEND', value: (one) => one.prepend },
];

const nouns: Record<string, Column<never>[]> = {
  ...{ servers, calls, registrations, users, cdrs, trunks },
  ...{ 'outbound-routes': outboundRoutes, 'inbound-routes': inboundRoutes },
};

interface GetOptions extends TargetOptions {
  user?: string;
  id?: string;
  prefix?: string;
  output?: 'json' | 'wide';
  watch?: true;
  limit: string;
}

export function addGet(program: Command): void {
  addTargetOptions(program.command('get'))
    .description('list servers, calls, registrations, users, cdrs, trunks or routes')
    .addArgument(new Argument('<noun>', 'what to list').choices(Object.keys(nouns)))
    .addOption(new Option('-o, --output <format>', 'format').choices(['json', 'wide']))
    .option('-w, --watch', 'show it again whenever it changes')
    .option('--user <name>', 'cdrs only: calls this user made or received')
    .option('--id <id>', 'cdrs only: the record of one call')
    .option('--prefix <text>', 'users only: names that begin so')
    .option('-n, --limit <count>', 'entries at most', '10000')
    .action(async (noun: string, options: GetOptions) => {
      const limit = Number(options.limit);
      if (!Number.isInteger(limit) || limit < 1) {
        const message = `'${options.limit}' is not a number of entries`;
        throw new CliError('PBX_CLI_USE', message, 'give a whole number above 0');
      }
      requireFilters(noun, options);
      if (options.watch === true && options.output === 'json') {
        const message = '-w shows many documents, -o json prints one';
        throw new CliError('PBX_CLI_USE', message, 'leave one of them away');
      }
      const target = findTarget(options);
      if (options.watch === true) {
        await watch(target, noun, limit, options);
      } else {
        print(await show(target, noun, limit, options));
      }
    });
}

/** A list as text. */
export async function show(
  target: Target,
  noun: string,
  limit: number,
  options: Pick<GetOptions, 'user' | 'id' | 'prefix' | 'output'>,
): Promise<string> {
  const entries = await list(target, noun, limit, options);
  return options.output === 'json'
    ? formatJson(entries)
    : formatTable(entries, nouns[noun] ?? [], options.output === 'wide');
}

async function watch(
  target: Target,
  noun: string,
  limit: number,
  options: GetOptions,
): Promise<never> {
  let last = '';
  for (;;) {
    const text = await show(target, noun, limit, options);
    if (text !== last) {
      print(process.stdout.isTTY ? `\u001b[2J\u001b[H${text}` : `${text}\n`);
      last = text;
    }
    await delay(watchPeriodMs);
  }
}

/** A filter that a noun does not have must not be taken for one that found everything. */
function requireFilters(noun: string, { user, id, prefix }: GetOptions): void {
  const given: [string, string | undefined, string][] = [
    ['--user', user, 'cdrs'],
    ['--id', id, 'cdrs'],
    ['--prefix', prefix, 'users'],
  ];
  const wrong = given.find(([, value, of]) => value !== undefined && of !== noun);
  if (wrong !== undefined) {
    const message = `${wrong[0]} is for ${wrong[2]}, not for ${noun}`;
    throw new CliError('PBX_CLI_USE', message, 'leave it away');
  }
  if (user !== undefined && id !== undefined) {
    const message = '--id names one record already';
    throw new CliError('PBX_CLI_USE', message, 'leave --user away');
  }
}

async function list(
  target: Target,
  noun: string,
  limit: number,
  { user, id, prefix }: Pick<GetOptions, 'user' | 'id' | 'prefix'>,
): Promise<never[]> {
  if (id !== undefined) {
    return [await ask<never>(target, 'GET', `/api/v1/cdrs/${encodeURIComponent(id)}`)];
  }
  const entries: never[] = [];
  let after: string | null = null;
  do {
    const count = Math.min(pageEntries, limit - entries.length);
    const query = new URLSearchParams({
      limit: String(count),
      ...(after === null ? {} : { after }),
      ...(user === undefined ? {} : { user }),
      ...(prefix === undefined ? {} : { prefix }),
    });
    const page: Page<never> = await ask(target, 'GET', `/api/v1/${noun}?${query}`);
    entries.push(...page.items);
    after = page.next;
  } while (after !== null && entries.length < limit);
  return entries;
}
