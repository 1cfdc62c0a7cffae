/**
 * Brings a whole cluster up on this machine and takes it down again. Owner of `.lab/lab.json`,
 * which is written before a server is waited for: what was started can always be stopped.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StatusEntry } from '../portal/api/shapes.ts';
import { LabError } from './failure.ts';
import { Insider } from './insider.ts';
import {
  existingNamespaces,
  makeNetwork,
  namespaceExists,
  processesIn,
  removeNetwork,
} from './network.ts';
import { type LabPlan, type LabServer, planLab } from './plan.ts';
import { endProcesses, isServer, launchServer, signalProcess, waitForExit } from './processes.ts';
import { LabApi, waitForServers } from './readiness.ts';
import { type LabRecord, readLab, writeLab } from './records.ts';
import { type Steps, silentSteps } from './steps.ts';

/** Servers leave cleanly within their own deadline of 8 s. */
const stopPatienceMs = 10_000;
/** Addresses .11 to .19; a cluster may not have more. */
const callManagersMax = 9;
/** A killed process is gone much earlier. */
const killPatienceMs = 5000;

export interface LabOptions {
  /** Default: `.lab` of this working copy. */
  directory?: string;
  /** Beginning of the namespaces' names, at most 7 characters. */
  prefix?: string;
  callManagers?: number;
  mediaServers?: number;
}

/** What `clusterUp` found and did. */
export interface UpOutcome {
  plan: LabPlan;
  status: StatusEntry;
  /** Servers that were started; none when the lab was up already. */
  started: string[];
}

/** The directory of the lab that is meant. */
export function labDirectoryOf(options: { directory?: string }): string {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  return resolve(options.directory ?? join(root, '.lab'));
}

/** The plan of a lab, as it runs when it runs. */
export function planOf(options: LabOptions = {}): LabPlan {
  const directory = labDirectoryOf(options);
  const record = readLab(directory);
  const first = record?.servers[0];
  const prefix = first?.namespace.slice(0, -first.name.length - 1) ?? options.prefix ?? 'rpbx';
  const count = (role: string) => record?.servers.filter((one) => one.roles.includes(role)).length;
  return planLab(directory, prefix, {
    callManagers: count('call-manager') ?? options.callManagers ?? 3,
    mediaServers: count('media') ?? options.mediaServers ?? 2,
  });
}

/** Starts everything that is not up. A second call changes nothing. */
export async function clusterUp(
  options: LabOptions = {},
  steps: Steps = silentSteps,
): Promise<UpOutcome> {
  requireRoot('make network namespaces');
  const plan = planOf(options);
  // Only this command needs the addon and the libraries behind it.
  const { makeMaterials } = await import('./materials.ts');
  await steps.step('certificates, secrets, configurations', () => makeMaterials(plan));
  await steps.step('network', () => makeNetwork(plan));
  const insider = new Insider(plan.phonesNamespace);
  try {
    const started = await steps.step('servers', () => launchMissing(plan));
    await steps.step('every server works', () => waitForServers(insider, runningServers(plan)));
    const api = new LabApi(insider, plan);
    const status = await steps.step('the VIP answers', () => api.waitForVip());
    await steps.step('users', () => api.addMissingUsers());
    return { plan, status, started };
  } finally {
    await insider.close();
  }
}

/** Stops every process of the lab and removes its namespaces, and its files unless kept. */
export async function clusterDown(
  options: LabOptions & { keepData?: boolean } = {},
): Promise<{ stopped: number; namespaces: string[] }> {
  requireRoot('remove network namespaces');
  const plan = planOf(options);
  const servers = runningServers(plan).map(({ pid }) => pid);
  await endProcesses(servers, stopPatienceMs);
  const others = existingNamespaces(plan.prefix)
    .flatMap((namespace) => processesIn(namespace))
    .filter((pid) => pid !== process.pid);
  await endProcesses(others, killPatienceMs);
  const namespaces = removeNetwork(plan.prefix);
  const record = readLab(plan.directory);
  if (record !== null) {
    const stopped = record.servers.map((server) => ({ ...server, pid: 0 }));
    writeLab(plan.directory, { ...record, servers: stopped });
  }
  if (options.keepData !== true) {
    rmSync(plan.directory, { recursive: true, force: true });
  }
  return { stopped: servers.length + others.length, namespaces };
}

/** Ends one server, by default as a power cut would; resolves when it is gone. */
export async function killServer(
  name: string,
  signal: NodeJS.Signals = 'SIGKILL',
  options: LabOptions = {},
): Promise<void> {
  const plan = planOf(options);
  const { server, pid } = findServer(plan, name);
  if (!isServer(pid, server.directory)) {
    return;
  }
  signalProcess(pid, signal);
  if (signal === 'SIGSTOP' || signal === 'SIGCONT') {
    return;
  }
  const left = await waitForExit([pid], stopPatienceMs);
  if (left.length > 0) {
    const fix = `see ${server.directory}/log.jsonl, or send it SIGKILL`;
    throw new LabError('PBX_LAB_SERVER', `${name} does not end after ${signal}`, fix);
  }
  recordPid(plan, server, 0);
}

/**
 * Starts one server of a lab that is up; resolves when it works, or at once when nobody shall
 * wait. Its data is kept.
 */
export async function startServer(
  name: string,
  options: LabOptions & { wait?: boolean } = {},
): Promise<void> {
  const plan = planOf(options);
  const found = findServer(plan, name);
  const pid = isServer(found.pid, found.server.directory) ? found.pid : launch(plan, found.server);
  if (options.wait === false) {
    return;
  }
  const insider = new Insider(plan.phonesNamespace);
  try {
    await waitForServers(insider, [{ server: found.server, pid }]);
  } finally {
    await insider.close();
  }
}

/**
 * Makes one more Call Manager, names it in every configuration and starts it. It belongs to the
 * cluster only after `raftpbx member` has said so, and is not waited for.
 */
export async function addCallManager(options: LabOptions = {}): Promise<LabServer> {
  requireRoot('make network namespaces');
  const before = planOf(options);
  const managers = before.servers.filter((server) => server.id !== null).length;
  const like = runningServers(before).find(({ server }) => server.id !== null)?.server;
  if (like === undefined) {
    throw new LabError('PBX_LAB_DOWN', 'no lab is up here', "start it with 'make cluster-up'");
  }
  if (managers >= callManagersMax) {
    const fix = 'take the lab down and start again';
    throw new LabError('PBX_LAB_SIZE', `a lab has at most ${callManagersMax} Call Managers`, fix);
  }
  const plan = planLab(before.directory, before.prefix, {
    callManagers: managers + 1,
    mediaServers: before.servers.length - managers,
  });
  const server = plan.servers.find((one) => one.id === managers + 1) as LabServer;
  const { makeMaterials, namePeer } = await import('./materials.ts');
  await makeMaterials(plan, server.name);
  namePeer(plan, server, like);
  makeNetwork(plan);
  launch(plan, server);
  return server;
}

/** Lets running servers read their configuration again (SIGHUP); answers their names. */
export function reloadServers(names: readonly string[], options: LabOptions = {}): string[] {
  const plan = planOf(options);
  const wanted = names.length === 0 ? null : names.map((name) => findServer(plan, name).server);
  const running = runningServers(plan).filter(
    ({ server }) => wanted === null || wanted.some((one) => one.name === server.name),
  );
  for (const { pid } of running) {
    signalProcess(pid, 'SIGHUP');
  }
  return running.map(({ server }) => server.name);
}

/** What the API behind the VIP says; null when nobody answers. */
export async function status(options: LabOptions = {}): Promise<StatusEntry | null> {
  const plan = planOf(options);
  if (!namespaceExists(plan.phonesNamespace)) {
    return null;
  }
  const insider = new Insider(plan.phonesNamespace);
  try {
    return await new LabApi(insider, plan).status();
  } finally {
    await insider.close();
  }
}

/** The servers that run, with their process ids. */
export function runningServers(plan: LabPlan): { server: LabServer; pid: number }[] {
  const record = readLab(plan.directory);
  return plan.servers
    .map((server) => ({ server, pid: pidOf(record, server.name) }))
    .filter(({ server, pid }) => isServer(pid, server.directory));
}

/** A server of the plan and its recorded process id, 0 when it was stopped. */
export function findServer(plan: LabPlan, name: string): { server: LabServer; pid: number } {
  const server = plan.servers.find((one) => one.name === name);
  if (server === undefined) {
    const names = plan.servers.map((one) => one.name).join(', ');
    throw new LabError('PBX_LAB_NAME', `no server is called ${name}`, `there are ${names}`);
  }
  return { server, pid: pidOf(readLab(plan.directory), name) };
}

function launchMissing(plan: LabPlan): string[] {
  const running = new Set(runningServers(plan).map(({ server }) => server.name));
  const missing = plan.servers.filter((server) => !running.has(server.name));
  for (const server of missing) {
    launch(plan, server);
  }
  return missing.map((server) => server.name);
}

function launch(plan: LabPlan, server: LabServer): number {
  mkdirSync(server.directory, { recursive: true });
  const pid = launchServer(server.namespace, server.directory);
  recordPid(plan, server, pid);
  return pid;
}

function recordPid(plan: LabPlan, server: LabServer, pid: number): void {
  const record = readLab(plan.directory);
  const servers = plan.servers.map((one) => ({
    name: one.name,
    roles: one.roles,
    namespace: one.namespace,
    address: one.address,
    pid: one.name === server.name ? pid : pidOf(record, one.name),
  }));
  writeLab(plan.directory, { vip: plan.vip, servers });
}

function pidOf(record: LabRecord | null, name: string): number {
  return record?.servers.find((one) => one.name === name)?.pid ?? 0;
}

function requireRoot(purpose: string): void {
  if (process.getuid?.() !== 0) {
    throw new LabError('PBX_ROOT_NEEDED', `only root may ${purpose}`, 'run it again with sudo');
  }
  if (!existsSync('/proc/self/ns/net')) {
    throw new LabError('PBX_LAB_KERNEL', 'this kernel has no network namespaces', 'use Linux');
  }
}
