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
    status.servers.every((server) => server.state === 'up')
  );
}

/** The screen. */
export function formatStatus(status: StatusEntry): string {
  const facts: [string, string][] = [
    ['leader', `${status.leader ?? 'none'} (term ${status.term})`],
    ['VIP', `${status.vip.address ?? 'none'} held by ${status.vip.holder ?? 'nobody'}`],
    ['registrations', String(status.registrations)],
    ['calls', String(status.calls)],
    ['alerts', String(status.alerts)],
  ];
  const head = facts.map(([name, value]) => `${name.padEnd(14)} ${value}`).join('\n');
  const table = formatTable(status.servers, [
    { title: 'SERVER', value: (one) => one.name },
    { title: 'ROLES', value: (one) => one.roles.join(',') },
    { title: 'STATE', value: (one) => one.state },
  ]);
  return `${head}\n\n${table}`;
}
