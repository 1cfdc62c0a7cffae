/** `raftpbx lab`: a whole cluster on this machine. */
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { type Command, Option } from 'commander';
import {
  addCallManager,
  clusterDown,
  clusterUp,
  findServer,
  killServer,
  planOf,
  reloadServers,
  runningServers,
  startServer,
  status,
  type UpOutcome,
} from '../lab/cluster.ts';
import { inNamespace, namespaceExists } from '../lab/network.ts';
import { type LabPlan, labDomain, labPorts } from '../lab/plan.ts';
import { toldSteps } from '../lab/steps.ts';
import type { StatusEntry } from '../portal/api/shapes.ts';
import { CliError, exitStatus } from './failure.ts';
import { formatJson, formatTable, print } from './output.ts';
import { formatAlarms, formatStatus, isWell } from './status.ts';
import { labDirectory, phonesNamespace, requireRoot } from './target.ts';

const here = () => ({ directory: labDirectory() });

export function addLab(program: Command): void {
  const lab = program.command('lab').description('a whole cluster on this machine, for trying out');
  // `exec` hands options on to its program only when its parents take theirs by position.
  lab.enablePositionalOptions();
  lab
    .command('up')
    .description('start three Call Managers and two media servers behind one VIP')
    .action(up);
  lab
    .command('down')
    .description('stop every server and remove the namespaces')
    .option('--keep-data', 'keep state, secrets and logs for the next start')
    .action(async (options: { keepData?: true }) => {
      const { stopped, namespaces } = await clusterDown({ ...here(), ...options });
      print(
        namespaces.length === 0 && stopped === 0
          ? 'the lab was down already'
          : `the lab is down: ${stopped} processes ended, ${namespaces.length} namespaces removed`,
      );
    });
  lab
    .command('status')
    .description('show processes, leader and VIP')
    .addOption(new Option('-o, --output <format>', 'format').choices(['table', 'json']))
    .action(showStatus);
  addServerCommands(lab);
  lab
    .command('exec')
    .description("run a program in a server's namespace, or in that of the phones")
    .argument('<server>', "name of a server, or 'phones'")
    .argument('<command...>', 'the program and its arguments, after --')
    .passThroughOptions()
    .action(execute);
  lab
    .command('demo')
    .description('two phones talk, the leader is killed, the call goes on')
    .action(async () => {
      const { runDemo } = await import('../lab/demo.ts');
      const kept = await runDemo(here(), (text) => process.stdout.write(text));
      process.exitCode = kept ? exitStatus.well : exitStatus.degraded;
    });
}

function addServerCommands(lab: Command): void {
  lab
    .command('start')
    .description('start one server that was stopped or has died')
    .argument('<server>', 'name of the server')
    .option('--no-wait', 'do not wait until it works, for one that is no member yet')
    .action(async (name: string, { wait }: { wait: boolean }) => {
      await startServer(name, { ...here(), wait });
      print(
        wait
          ? `${name} works`
          : `${name} was started; its log is ${labDirectory()}/${name}/log.jsonl`,
      );
    });
  lab
    .command('add')
    .description('start one more Call Manager, which waits to become a member')
    .action(async () => {
      const { id, name, address } = await addCallManager(here());
      print(`${name} (${address}) was started and waits to become a member`);
      print(`next: bin/raftpbx member add ${id} ${name} ${address}`);
      print(`      bin/raftpbx member promote ${id}`);
      print(`or:   bin/raftpbx lab reload, then bin/raftpbx member apply`);
    });
  lab
    .command('reload')
    .description('let servers read their configuration again (SIGHUP), all without a name')
    .argument('[servers...]', 'names of servers')
    .action((names: string[]) => {
      const told = reloadServers(names, here());
      print(told.length === 0 ? 'none of them runs' : `told ${told.join(', ')}; see their logs`);
    });
  lab
    .command('stop')
    .description('stop one server as an administrator would')
    .argument('<server>', 'name of the server')
    .action(async (name: string) => {
      await killServer(name, 'SIGTERM', here());
      print(`${name} stopped`);
    });
  lab
    .command('kill')
    .description('kill one server as a fault would')
    .argument('<server>', 'name of the server')
    .action(async (name: string) => {
      await killServer(name, 'SIGKILL', here());
      print(`${name} killed`);
    });
}

async function up(): Promise<void> {
  const outcome = await clusterUp(
    here(),
    toldSteps(6, (text) => process.stdout.write(text)),
  );
  print(formatUp(outcome));
}

function formatUp({ plan, status: seen, started }: UpOutcome): string {
  const vip = plan.vip[0] ?? '';
  const credentials = `${plan.directory}/credentials.json`;
  return [
    '',
    started.length === 0
      ? 'the lab was up already, nothing was changed'
      : `started: ${started.join(', ')}`,
    '',
    formatServers(plan, seen),
    '',
    `VIP        ${plan.vip.join(', ')} held by ${seen.vip.holder}`,
    `portal     https://${vip}:${labPorts.api}/api/v1 as admin`,
    `passwords  ${credentials}`,
    `a phone    user 1001 to 1020, domain ${labDomain}, server ${vip}, udp or tcp ${labPorts.sip};`,
    `           run it with: bin/raftpbx lab exec phones -- PROGRAM`,
    '',
    'next       make demo',
  ].join('\n');
}

function formatServers(plan: LabPlan, seen: StatusEntry | null): string {
  const running = new Map(runningServers(plan).map(({ server, pid }) => [server.name, pid]));
  const state = (name: string) => seen?.servers.find((one) => one.name === name)?.state ?? null;
  return formatTable(plan.servers, [
    { title: 'SERVER', value: (one) => one.name },
    { title: 'ROLE', value: (one) => one.roles.join(',') },
    { title: 'ADDRESS', value: (one) => one.address },
    { title: 'PID', value: (one) => running.get(one.name) ?? null },
    { title: 'STATE', value: (one) => (running.has(one.name) ? state(one.name) : 'down') },
    { title: '', value: (one) => (seen?.leader === one.name ? 'leader' : '') },
  ]);
}

async function showStatus(options: { output?: string }): Promise<void> {
  requireRoot('look into the lab');
  const plan = planOf(here());
  if (!namespaceExists(plan.phonesNamespace)) {
    throw new CliError('PBX_LAB_DOWN', 'no lab is up here', "start it with 'make cluster-up'");
  }
  const seen = await status(here());
  if (options.output === 'json') {
    print(formatJson(seen));
  } else {
    print(formatServers(plan, seen));
    print(seen === null ? '\nthe VIP does not answer' : `\n${formatHead(seen)}`);
  }
  if (seen === null) {
    process.exitCode = exitStatus.failed;
  } else {
    process.exitCode = isWell(seen) ? exitStatus.well : exitStatus.degraded;
  }
}

/** The facts without the tables: the servers are above them already. */
function formatHead(seen: StatusEntry): string {
  return [formatStatus(seen).split('\n\n')[0], ...formatAlarms(seen.alarms)].join('\n\n');
}

function execute(name: string, rest: string[]): void {
  const command = rest[0] === '--' ? rest.slice(1) : rest;
  requireRoot("enter a server's network");
  const namespace =
    name === 'phones' ? phonesNamespace() : findServer(planOf(here()), name).server.namespace;
  if (!namespaceExists(namespace)) {
    throw new CliError('PBX_LAB_DOWN', 'no lab is up here', "start it with 'make cluster-up'");
  }
  const [program = '', ...args] = inNamespace(namespace, command);
  const result = spawnSync(program, args, { stdio: 'inherit' });
  const bySignal = result.signal === null ? 1 : 128 + constants.signals[result.signal];
  process.exitCode = result.status ?? bySignal;
}
