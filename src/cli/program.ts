/** Puts the commands together and turns every failure into an exit status. */
import { Command, CommanderError } from 'commander';
import { describeFatal } from '../observe/fatal.ts';
import { addBackup, addRestore } from './backup.ts';
import { addCall } from './call.ts';
import { addCertificate } from './certificate.ts';
import { CliError, exitStatus } from './failure.ts';
import { addGet } from './get.ts';
import { addLab } from './lab.ts';
import { addMedia } from './media.ts';
import { addMember } from './member.ts';
import { addSip } from './sip.ts';
import { addStart } from './start.ts';
import { addStatus } from './status.ts';
import { addStore, addStoreAccount } from './store.ts';
import { addRoute, addTrunk } from './trunk.ts';
import { addUser } from './user.ts';

/** Builds the whole command line. */
export function buildProgram(): Command {
  const program = new Command('raftpbx')
    .description('An IP-PBX cluster: whatever server dies, nobody has to dial again.')
    .showSuggestionAfterError(true)
    .enablePositionalOptions()
    .helpCommand(true);
  const services = [addStart, addLab, addSip, addMedia, addStore, addStoreAccount];
  const data = [
    addCall,
    addUser,
    addTrunk,
    addRoute,
    addMember,
    addCertificate,
    addBackup,
    addRestore,
  ];
  for (const add of [addStatus, addGet, ...data, ...services]) {
    add(program);
  }
  refuseByThrowing(program);
  return program;
}

/** Commander must not end the process by itself: exit statuses are ours. */
function refuseByThrowing(command: Command): void {
  command.exitOverride();
  command.commands.forEach(refuseByThrowing);
}

/** Runs one command; resolves to the exit status. */
export async function runCli(argv: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? exitStatus.well);
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitStatus.well : exitStatus.failed;
    }
    const { code, message, fix } = error instanceof CliError ? error : describeFatal(error);
    process.stderr.write(`raftpbx: ${code}: ${message}\n  fix: ${fix}\n`);
    return exitStatus.failed;
  }
}
