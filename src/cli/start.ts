/** `raftpbx start`: runs this server. */
import type { Command } from 'commander';

export function addStart(program: Command): void {
  program
    .command('start')
    .description('run a server with the roles its configuration names')
    .requiredOption('--config <file>', 'configuration of this server, YAML')
    .action(async (options: { config: string }) => {
      // The server's libraries would slow every other command down.
      const { runServer } = await import('../main.ts');
      // Threads of the addon must not keep a stopped server alive.
      process.exit(await runServer(options.config));
    });
}
