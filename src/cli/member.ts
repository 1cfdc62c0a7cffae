/** `raftpbx member`: who belongs to the store's cluster, and changes of it. */
import { type Command, Option } from 'commander';
import { loadConfig } from '../config/load.ts';
import type { MemberChange, MemberEntry, MembersEntry } from '../portal/api/shapes.ts';
import { CliError, exitStatus } from './failure.ts';
import { formatJson, formatTable, print } from './output.ts';
import { addTargetOptions, ask, findTarget, type Target, type TargetOptions } from './target.ts';

/** A node that joins may have to receive the whole log first. */
const changeTimeoutMs = 160_000;

const path = '/api/v1/members';

export function addMember(program: Command): void {
  const member = program
    .command('member')
    .description('list, add, promote, remove and replace the members of the store');
  addTargetOptions(member.command('list'))
    .description('show the members; exit status 1 when one is missing or differs')
    .addOption(new Option('-o, --output <format>', 'format').choices(['table', 'json']))
    .action(async (options: TargetOptions & { output?: string }) => {
      const members = await ask<MembersEntry>(findTarget(options), 'GET', path);
      print(options.output === 'json' ? formatJson(members) : formatMembers(members));
      process.exitCode = isComplete(members) ? exitStatus.well : exitStatus.degraded;
    });
  addTargetOptions(member.command('add'))
    .description('add a running node as a learner: it receives the log and does not vote')
    .argument('<id>', 'its id, never used before')
    .argument('<name>', 'name of its server')
    .argument('<address>', 'IP address of its server')
    .action((id: string, name: string, address: string, options: TargetOptions) =>
      change(findTarget(options), { type: 'add', id: idOf(id), server: { name, address } }),
    );
  addTargetOptions(member.command('promote'))
    .description('let a learner vote, after it has caught up')
    .argument('<id>', 'its id')
    .action((id: string, options: TargetOptions) =>
      change(findTarget(options), { type: 'promote', id: idOf(id) }),
    );
  addTargetOptions(member.command('remove'))
    .description('remove a member; its id is never used again')
    .argument('<id>', 'its id')
    .action((id: string, options: TargetOptions) =>
      change(findTarget(options), { type: 'remove', id: idOf(id) }),
    );
  addReplacements(member);
}

function addReplacements(member: Command): void {
  addTargetOptions(member.command('replace'))
    .description('let a node on another server take the place of a voter, in one step')
    .argument('<old>', 'id of the voter, dead or alive')
    .argument('<new>', 'id of the node, never used before')
    .argument('<name>', 'name of its server')
    .argument('<address>', 'IP address of its server')
    .action((old: string, id: string, name: string, address: string, options: TargetOptions) => {
      const server = { name, address };
      return change(findTarget(options), {
        type: 'replace',
        old: idOf(old),
        new: idOf(id),
        server,
      });
    });
  addTargetOptions(member.command('rejoin'))
    .description('let a server that lost its directory come back under a new id')
    .argument('<old>', 'the id it had')
    .argument('<new>', 'the id it was started with now, never used before')
    .action((old: string, id: string, options: TargetOptions) =>
      change(findTarget(options), { type: 'replace', old: idOf(old), new: idOf(id) }),
    );
  addTargetOptions(member.command('apply'))
    .description("make the members those of the leader's cluster.peers, or of a configuration")
    .option('--config <file>', 'refuse unless this configuration asks for the same')
    .option('--dry-run', 'only show what would be changed')
    .action(apply);
}

async function apply(options: TargetOptions & { config?: string; dryRun?: true }): Promise<void> {
  const target = findTarget(options);
  const { items, changes } = await ask<MembersEntry>(target, 'GET', path);
  if (options.config !== undefined) {
    requireSame(options.config, items, changes);
  }
  if (changes.length === 0) {
    print('the members are those of the configuration');
  }
  for (const one of changes) {
    if (options.dryRun === true) {
      print(describe(one));
    } else {
      await change(target, one);
    }
  }
}

/** The answering server plans with its own configuration; an older one must not undo a newer. */
function requireSame(
  file: string,
  items: readonly MemberEntry[],
  changes: readonly MemberChange[],
): void {
  const ids = new Set(items.map((one) => one.id));
  for (const one of changes) {
    if (one.type === 'add') {
      ids.add(one.id);
    } else if (one.type === 'remove') {
      ids.delete(one.id);
    } else if (one.type === 'replace') {
      ids.delete(one.old);
      ids.add(one.new);
    }
  }
  const list = (all: Iterable<number>) => [...all].sort((a, b) => a - b).join(', ');
  const wanted = list(loadConfig(file).cluster.peers.map((peer) => peer.id));
  if (list(ids) !== wanted) {
    throw new CliError(
      'PBX_MEMBER_CONFIG',
      `${file} asks for nodes ${wanted}, the leader's configuration for ${list(ids)}`,
      'give every Call Manager the same cluster.peers and restart the leader',
    );
  }
}

async function change(target: Target, wanted: MemberChange): Promise<void> {
  await ask(target, 'POST', path, wanted, changeTimeoutMs);
  print(`done: ${describe(wanted)}`);
}

/** A change in words. */
export function describe(change: MemberChange): string {
  switch (change.type) {
    case 'add':
      return `add node ${change.id} (${change.server.name}) at ${change.server.address}`;
    case 'replace':
      return `replace node ${change.old} by node ${change.new}`;
    default:
      return `${change.type} node ${change.id}`;
  }
}

/** An id as the command line gives it. */
export function idOf(text: string): number {
  const id = Number(text);
  if (!/^\d{1,9}$/.test(text) || id < 1) {
    const message = `'${text}' is not the id of a node`;
    throw new CliError('PBX_CLI_USE', message, "see the ids with 'raftpbx member list'");
  }
  return id;
}

/** Whether every member can be reached and the configuration asks for nothing else. */
export function isComplete(members: MembersEntry): boolean {
  return (
    members.changes.length === 0 &&
    members.alarms.length === 0 &&
    members.items.every((one) => one.reachable)
  );
}

/** The screen. */
export function formatMembers({ items, alarms, changes }: MembersEntry): string {
  const head = Math.max(...items.map((one) => one.matched ?? 0));
  const table = formatTable(items, [
    { title: 'ID', value: (one) => one.id },
    { title: 'SERVER', value: (one) => (one.name === '' ? null : one.name) },
    { title: 'ADDRESS', value: (one) => one.raft },
    { title: 'ROLE', value: roleOf },
    { title: 'BEHIND', value: (one) => (one.matched === null ? null : head - one.matched) },
    { title: 'STATE', value: (one) => (one.reachable ? 'up' : (one.problem ?? 'unreachable')) },
  ]);
  const told = alarms.map((one) => `alarm ${one.code}: ${one.text}\n  fix: ${one.fix}`);
  const differs = changes.map((one) => `the configuration asks to ${describe(one)}`);
  return [table, ...told, ...differs].join('\n');
}

function roleOf(one: MemberEntry): string {
  if (one.leader) {
    return 'leader';
  }
  return one.voter ? 'voter' : 'learner';
}
