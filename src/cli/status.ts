/** `raftpbx status`: the cluster on one screen; the exit status says whether it is well. */
import { type Command, Option } from 'commander';
import type { StatusEntry } from '../portal/api/shapes.ts';
import { exitStatus } from './failure.ts';
import { formatJson, formatTable, print } from './output.ts';
import { addTargetOptions, ask, findTarget, type TargetOptions } from './target.ts';

export function addStatus(program: Command): void {
  addTargetOptions(program.command('status'))
    .description('show leader, VIP, servers, calls; exit status 1 when something is degraded')
    .addOption(new Option('-o, --output <format>', 'format').choices(['table', 'json']))
    .action(async (options: TargetOptions & { output?: string }) => {
      const status = await ask<StatusEntry>(findTarget(options), 'GET', '/api/v1/status');
      print(options.output === 'json' ? formatJson(status) : formatStatus(status));
      process.exitCode = isWell(status) ? exitStatus.well : exitStatus.degraded;
    });
}

/** Whether nothing needs a person. */
export function isWell(status: StatusEntry): boolean {
  return (
    status.leader !== null &&
    status.vip.holder !== null &&
    status.alerts === 0 &&
    status.alarms.length === 0 &&
    status.servers.every((server) => server.state === 'up')
  );
}

/** The screen. */
export function formatStatus(status: StatusEntry): string {
  const { store } = status;
  const since = store.leaderSince === null ? '' : ` since ${store.leaderSince}`;
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const facts: [string, string][] = [
    ['leader', `${status.leader ?? 'none'} (term ${status.term})${since}`],
    ['VIP', `${status.vip.address ?? 'none'} held by ${status.vip.holder ?? 'nobody'}`],
    ['registrations', String(status.registrations)],
    ['calls', String(status.calls)],
    ['alerts', String(status.alerts)],
    ['alarms', String(status.alarms.length)],
    ['lag', `${store.commitLag} entries to commit, ${store.applyLag} to apply`],
    ['log', `${mebibytes(store.logBytes)}, tables ${mebibytes(store.sqlBytes)}`],
    ['snapshot', store.snapshotAt ?? 'none yet'],
    ['99 of 100', `flushes within ${store.fsyncP99Us} us, commits ${store.commitP99Us} us`],
  ];
  const head = facts.map(([name, value]) => `${name.padEnd(14)} ${value}`).join('\n');
  const table = formatTable(status.servers, [
    { title: 'SERVER', value: (one) => one.name },
    { title: 'ROLES', value: (one) => one.roles.join(',') },
    { title: 'STATE', value: (one) => one.state },
  ]);
  const { leaderSince } = store;
  const leads = (name: string) => name === status.leader && leaderSince !== null;
  const nodes = formatTable(store.nodes, [
    { title: 'STORE', value: (one) => one.name },
    { title: 'ID', value: (one) => one.id },
    { title: 'ROLE', value: (one) => one.role },
    { title: 'BEHIND', value: (one) => one.behind },
    { title: 'HEARD', value: (one) => (one.heardMs === null ? null : `${one.heardMs}ms`) },
    { title: 'LEADS SINCE', value: (one) => (leads(one.name) ? leaderSince : null) },
    { title: 'PROBLEM', value: (one) => one.problem },
  ]);
  return [head, table, nodes, ...formatAlarms(status.alarms)].join('\n\n');
}

/** Every alarm and what to do about it; none takes no room. */
export function formatAlarms(alarms: StatusEntry['alarms']): string[] {
  const lines = alarms.map(
    ({ server, code, text, fix }) => `alarm ${code} at ${server}: ${text}\n  fix: ${fix}`,
  );
  return lines.length === 0 ? [] : [lines.join('\n')];
}
