/**
 * The command line.
 *
 * # Layout
 * - `program.ts`: all commands together, exit statuses
 * - one file a command: `start`, `status`, `get`, `user`, `member`, `certificate`, `lab`
 * - `sip`, `media`, `store`: parts that run alone, as drop-in replacements
 * - `target.ts`: which cluster is meant and how it is reached
 * - `output.ts`: tables and JSON; `failure.ts`: exit statuses and refusals
 */
import { runCli } from './program.ts';

// A reader that has seen enough (`| head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    throw error;
  }
  process.exit();
});

process.exitCode = await runCli(process.argv.slice(2));
