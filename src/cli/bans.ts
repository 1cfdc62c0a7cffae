/** `raftpbx sip bans` and `raftpbx sip unban`: whom the SIP engine does not listen to. */
import { isIP } from 'node:net';
import { type Command, Option } from 'commander';
import type { BanEntry, Page } from '../portal/api/shapes.ts';
import { CliError } from './failure.ts';
import { type Column, formatDuration, formatJson, formatTable, print } from './output.ts';
import { addTargetOptions, ask, findTarget, type TargetOptions } from './target.ts';

const columns: Column<BanEntry>[] = [
  { title: 'ADDRESS', value: (one) => one.address },
  { title: 'USER', value: (one) => one.user },
  { title: 'ENDS IN', value: (one) => formatDuration(Date.parse(one.until) - Date.now()) },
  { title: 'TIMES', value: (one) => one.times },
];

export function addBans(sip: Command): void {
  addTargetOptions(sip.command('bans'))
    .description('list the sources that guessed passwords and are not listened to')
    .addOption(new Option('-o, --output <format>', 'format').choices(['table', 'json']))
    .action(async (options: TargetOptions & { output?: string }) => {
      const page = await ask<Page<BanEntry>>(findTarget(options), 'GET', '/api/v1/bans?limit=1000');
      print(options.output === 'json' ? formatJson(page.items) : formatTable(page.items, columns));
    });
  addTargetOptions(sip.command('unban'))
    .description('listen to an address again')
    .argument('<address>', 'an IP address; of IPv6 its whole /64')
    .action(async (address: string, options: TargetOptions) => {
      if (isIP(address) === 0) {
        const message = `'${address}' is no IP address`;
        throw new CliError('PBX_CLI_USE', message, "copy one from 'raftpbx sip bans'");
      }
      const path = `/api/v1/bans/${encodeURIComponent(address)}`;
      const { lifted } = await ask<{ lifted: number }>(findTarget(options), 'DELETE', path);
      print(`${lifted} lifted`);
    });
}
