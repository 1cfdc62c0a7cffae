/** `raftpbx user add|remove`: people with a number and a password. */
import { randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import { limits } from '../domain/limits.ts';
import { CliError } from './failure.ts';
import { formatJson, formatTable, print } from './output.ts';
import { addTargetOptions, ask, findTarget, type TargetOptions } from './target.ts';

interface AddOptions extends TargetOptions {
  password?: string;
  displayName?: string;
  count?: string;
  from?: string;
  output?: 'json';
}

/** A user to be, with the password that is shown once. */
export interface NewUser {
  name: string;
  password: string;
  displayName?: string;
}

export function addUser(program: Command): void {
  const user = program.command('user').description('add and remove users');
  addTargetOptions(user.command('add'))
    .description('add a user, or many with --count and --from; shows passwords once')
    .argument('[name]', 'name or number')
    .option('--password <password>', 'password; generated when left away')
    .option('--display-name <name>', 'name that called people see')
    .option('--count <number>', 'how many users to add')
    .option('--from <number>', 'number of the first of them')
    .addOption(new Option('-o, --output <format>', 'format').choices(['json']))
    .action(async (name: string | undefined, options: AddOptions) => {
      const users = usersToAdd(name, options);
      await ask(findTarget(options), 'POST', '/api/v1/users', { users });
      print(formatAdded(users, options.output === 'json'));
    });
  addTargetOptions(user.command('remove'))
    .description('remove a user')
    .argument('<name>', 'name or number')
    .action(async (name: string, options: TargetOptions) => {
      const path = `/api/v1/users/${encodeURIComponent(name)}`;
      const { removed } = await ask<{ removed: string }>(findTarget(options), 'DELETE', path);
      print(`user ${removed} removed`);
    });
}

/** The users a command line means. */
export function usersToAdd(name: string | undefined, options: AddOptions): NewUser[] {
  const { count, from, displayName } = options;
  const password = () => options.password ?? generatePassword();
  if (name !== undefined && count === undefined && from === undefined) {
    return [{ name, password: password(), ...(displayName === undefined ? {} : { displayName }) }];
  }
  const total = Number(count);
  if (name !== undefined || !/^\d{1,15}$/.test(from ?? '') || !Number.isInteger(total)) {
    const message = 'give NAME, or --count NUMBER and --from NUMBER';
    throw new CliError('PBX_CLI_USE', message, "for example 'raftpbx user add 1021'");
  }
  if (total < 1 || total > limits.usersPerRequest) {
    const message = `--count is not between 1 and ${limits.usersPerRequest}`;
    throw new CliError('PBX_CLI_USE', message, 'add them in several commands');
  }
  const first = from ?? '';
  return Array.from({ length: total }, (_, i) => ({
    name: String(Number(first) + i).padStart(first.length, '0'),
    password: password(),
  }));
}

/** 20 characters that survive phones' keyboards and URLs: 120 bits. */
export function generatePassword(): string {
  return randomBytes(15).toString('base64url');
}

function formatAdded(users: readonly NewUser[], json: boolean): string {
  if (json) {
    return formatJson(users.map(({ name, password }) => ({ name, password })));
  }
  return formatTable(users, [
    { title: 'NAME', value: (one) => one.name },
    { title: 'PASSWORD', value: (one) => one.password },
  ]);
}
