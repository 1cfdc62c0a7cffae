/** `raftpbx start`: runs this server. */
import type { Command } from 'commander';
import { runServer } from '../main.ts';

export function addStart(program: Command): void {
  program
    .command('start')
    .description('run a server with the roles its configuration names')
    .requiredOption('--config <file>', 'configuration of this server, YAML')
    .action(async (options: { config: string }) => {
      // Threads of the addon must not keep a stopped server alive.
      process.exit(await runServer(options.config));
    });
}
