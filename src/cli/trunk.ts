/** `raftpbx trunk` and `raftpbx route`: providers, and which numbers go where. */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { limits } from '../domain/limits.ts';
import { CliError } from './failure.ts';
import { show } from './get.ts';
import { print } from './output.ts';
import { addTargetOptions, ask, findTarget, type TargetOptions } from './target.ts';

interface AddOptions extends TargetOptions {
  proxy: string;
  mode?: string;
  transport?: string;
  domain?: string;
  account?: string;
  passwordFile?: string;
  callerId?: string;
  channels?: string;
  source?: string[];
}

export function addTrunk(program: Command): void {
  const trunk = program.command('trunk').description('the ways to telephone providers');
  addAdding(trunk);
  addTargetOptions(trunk.command('list'))
    .description("the same as 'raftpbx get trunks'")
    .action(async (options: TargetOptions) => {
      print(await show(findTarget(options), 'trunks', limits.trunksMax, {}));
    });
  addTargetOptions(trunk.command('remove'))
    .description('remove a trunk; calls it carries go on')
    .argument('<name>', 'name of the trunk')
    .action(async (name: string, options: TargetOptions) => {
      await ask(findTarget(options), 'DELETE', pathOf(name));
      print(`trunk ${name} removed`);
    });
  for (const [verb, enabled] of [
    ['enable', true],
    ['disable', false],
  ] as const) {
    addTargetOptions(trunk.command(verb))
      .description(`${verb} a trunk; calls it carries go on`)
      .argument('<name>', 'name of the trunk')
      .action(async (name: string, options: TargetOptions) => {
        await ask(findTarget(options), 'PATCH', pathOf(name), { enabled });
        print(`trunk ${name} ${verb}d`);
      });
  }
}

function pathOf(name: string): string {
  return `/api/v1/trunks/${encodeURIComponent(name)}`;
}

function addAdding(trunk: Command): void {
  const many = (value: string, before: string[] = []) => [...before, value];
  addTargetOptions(trunk.command('add'))
    .description('add a trunk: with an account it registers there, without one it is a peer')
    .argument('<name>', 'a-z, 0-9 and -')
    .requiredOption('--proxy <host[:port]>', 'where its requests go')
    .option('--account <name>', 'name of the account at the provider')
    .option('--password-file <file>', 'password of the account, on the first line; - reads it')
    .addOption(new Option('--mode <mode>', 'how').choices(['register', 'peer']))
    .addOption(new Option('--transport <name>', 'udp').choices(['udp', 'tcp', 'tls']))
    .option('--domain <host>', 'host in From and To; the proxy when left away')
    .option('--caller-id <number>', "number that called people see; the user's when left away")
    .option('--channels <count>', 'calls at once; 30 when left away')
    .option('--source <network>', 'where its calls come from, besides the proxy; repeatable', many)
    .action(async (name: string, options: AddOptions) => {
      const { proxy, mode, transport, domain, account, callerId, channels, source } = options;
      const password = passwordOf(options.passwordFile);
      const wanted = {
        ...{ name, proxy, mode, transport, domain, callerId },
        ...{ user: account, password, sources: source },
        channelsMax: channels === undefined ? undefined : countOf(channels),
      };
      await ask(findTarget(options), 'POST', '/api/v1/trunks', wanted);
      print(`trunk ${name} added`);
    });
}

/** From a file or standard input: an argument would be seen in `ps`. */
function passwordOf(file: string | undefined): string | undefined {
  if (file === undefined) {
    return undefined;
  }
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8').split(/\r?\n/)[0];
  } catch (error) {
    const message = `${file}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}`;
    throw new CliError('PBX_CLI_USE', message, 'give a file with the password on its first line');
  }
}

function countOf(text: string): number {
  if (!/^\d{1,6}$/.test(text)) {
    throw new CliError('PBX_CLI_USE', `'${text}' is not a number`, 'give a whole number');
  }
  return Number(text);
}

interface RouteOptions extends TargetOptions {
  over?: string[];
  to?: string;
  trunk?: string;
  strip: string;
  prepend: string;
}

export function addRoute(program: Command): void {
  const route = program.command('route').description('which numbers go where');
  const many = (value: string, before: string[] = []) => [...before, value];
  addTargetOptions(route.command('out'))
    .description('send numbers that are no users out over trunks')
    .argument('<pattern>', 'digits, + * #; X any digit, Z 1-9, N 2-9; a dot at the end: any more')
    .requiredOption('--over <trunk>', 'trunk; repeated, they are tried in this order', many)
    .option('--strip <count>', 'characters to take off at the front', '0')
    .option('--prepend <digits>', 'what to put in front then', '')
    .action(async (pattern: string, options: RouteOptions) => {
      const rewriting = { strip: countOf(options.strip), prepend: options.prepend };
      const wanted = { pattern, trunks: options.over, ...rewriting };
      await ask(findTarget(options), 'POST', '/api/v1/outbound-routes', wanted);
      print(`route out ${pattern} added`);
    });
  addTargetOptions(route.command('in'))
    .description('say who is meant by numbers that a provider calls')
    .argument('<pattern>', 'as for out')
    .option('--to <user>', 'user or number; left away: the number itself, rewritten')
    .option('--trunk <name>', 'only calls of this trunk')
    .option('--strip <count>', 'characters to take off at the front', '0')
    .option('--prepend <digits>', 'what to put in front then', '')
    .action(async (pattern: string, options: RouteOptions) => {
      const { to, trunk, strip, prepend } = options;
      const wanted = { pattern, to, trunk, strip: countOf(strip), prepend };
      await ask(findTarget(options), 'POST', '/api/v1/inbound-routes', wanted);
      print(`route in ${pattern} added`);
    });
  for (const way of ['out', 'in'] as const) {
    const command = addTargetOptions(route.command(`remove-${way}`))
      .description(`remove a route ${way}`)
      .argument('<pattern>', 'its pattern');
    if (way === 'in') {
      command.option('--trunk <name>', 'the trunk it is for');
    }
    command.action(async (pattern: string, options: RouteOptions) => {
      const { trunk } = options;
      const query = new URLSearchParams({ pattern, ...(trunk === undefined ? {} : { trunk }) });
      await ask(findTarget(options), 'DELETE', `/api/v1/${way}bound-routes?${query}`);
      print(`route ${way} ${pattern} removed`);
    });
  }
}
