/**
 * Which cluster a command means and how it is reached: normally the lab of this directory,
 * through its VIP from the phones' namespace; any other one by address, authority and password.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { joinAddress } from '../config/address.ts';
import { inNamespace, isInNamespace, namespaceExists } from '../lab/network.ts';
import { labFiles, labPorts, planLab } from '../lab/plan.ts';
import { readCredentials, readLab } from '../lab/records.ts';
import { CliError, exitStatus } from './failure.ts';

/** An answer later than this counts as none. */
const answerTimeoutMs = 10_000;

/** Ten gigabytes of tables are copied on the server before the first byte of them comes. */
const streamTimeoutMs = 15 * 60_000;

/** A cluster's API. */
export interface Target {
  url: string;
  authority: string | undefined;
  user: string;
  password: string;
}

/** Options every command that asks the API has. */
export interface TargetOptions {
  url?: string;
  authority?: string;
  credentials?: string;
}

export function addTargetOptions(command: Command): Command {
  return command
    .option('--url <url>', 'API of the cluster, https://ADDRESS:8443; default: the VIP of the lab')
    .option('--authority <file>', 'certificate authority of the cluster, PEM')
    .option(
      '--credentials <file>',
      'JSON file with the administrator: {"admin":{"user","password"}}',
    );
}

/** Where the lab of this working copy keeps its things; RAFTPBX_LAB names another place. */
export function labDirectory(): string {
  const { RAFTPBX_LAB: other } = process.env;
  return other ?? join(fileURLToPath(new URL('../..', import.meta.url)), '.lab');
}

/**
 * Finds the cluster. When it is a lab, the command is run again inside the phones' namespace and
 * this process ends with its exit status.
 */
export function findTarget(options: TargetOptions): Target {
  const files = labFiles(labDirectory());
  const credentialsFile = options.credentials ?? files.credentials;
  if (options.url === undefined) {
    enterLab();
  }
  if (!existsSync(credentialsFile)) {
    throw new CliError(
      'PBX_CLI_CREDENTIALS',
      `${credentialsFile} is not there`,
      "start a lab with 'make cluster-up', or give --url, --authority and --credentials",
    );
  }
  const { admin } = readCredentials(credentialsFile);
  const authority = options.authority ?? (options.url === undefined ? files.authority : undefined);
  return {
    url: options.url ?? `https://${joinAddress(labVip(), labPorts.api)}`,
    authority: authority === undefined ? undefined : readFileSync(authority, 'utf8'),
    user: admin.user,
    password: admin.password,
  };
}

function labVip(): string {
  return readLab(labDirectory())?.vip[0] ?? planLab(labDirectory()).vip[0] ?? '';
}

/** The phones' namespace of the lab that is up. */
export function phonesNamespace(): string {
  const lab = readLab(labDirectory());
  const sample = lab?.servers[0];
  if (sample === undefined) {
    throw new CliError('PBX_LAB_DOWN', 'no lab is up here', "start it with 'make cluster-up'");
  }
  return `${sample.namespace.slice(0, -sample.name.length)}phones`;
}

function enterLab(): void {
  const namespace = phonesNamespace();
  if (isInNamespace(namespace)) {
    return;
  }
  if (!namespaceExists(namespace)) {
    const message = `the namespace ${namespace} is gone`;
    throw new CliError('PBX_LAB_DOWN', message, "start the lab with 'make cluster-up'");
  }
  requireRoot('enter the network of the lab');
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const [program = '', ...args] = inNamespace(namespace, self);
  const result = spawnSync(program, args, { stdio: 'inherit' });
  process.exit(result.status ?? exitStatus.failed);
}

/** Refuses unless this is root; says what for. */
export function requireRoot(purpose: string): void {
  if (process.getuid?.() !== 0) {
    throw new CliError('PBX_ROOT_NEEDED', `only root may ${purpose}`, 'run it again with sudo');
  }
}

/** Asks the API; throws `CliError` with the server's own words when it refuses. */
export async function ask<Answer>(
  target: Target,
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
  timeoutMs = answerTimeoutMs,
): Promise<Answer> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  let status: number;
  let text: string;
  try {
    ({ status, text } = await send(target, method, path, payload, timeoutMs));
  } catch (error) {
    throw unreachable(target, error as Error);
  }
  if (status >= 400) {
    throw refusal(status, text);
  }
  return parse(text) as Answer;
}

/** Asks the API for a stream of bytes; throws `CliError` when it refuses or breaks off. */
export async function download(target: Target, path: string): Promise<AsyncIterable<Buffer>> {
  const basic = Buffer.from(`${target.user}:${target.password}`).toString('base64');
  const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request(
      new URL(path, target.url),
      {
        ...(target.authority === undefined ? {} : { ca: target.authority }),
        agent: false,
        timeout: streamTimeoutMs,
        headers: { authorization: `Basic ${basic}` },
      },
      resolve,
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.on('error', reject);
    outgoing.end();
  }).catch((error: Error) => {
    throw unreachable(target, error);
  });
  if (incoming.statusCode !== 200) {
    const parts: Buffer[] = [];
    for await (const part of incoming) {
      parts.push(part as Buffer);
    }
    throw refusal(incoming.statusCode ?? 0, Buffer.concat(parts).toString());
  }
  return whole(incoming, target);
}

async function* whole(incoming: IncomingMessage, target: Target): AsyncGenerator<Buffer> {
  try {
    for await (const part of incoming) {
      yield part as Buffer;
    }
  } catch (error) {
    throw unreachable(target, error as Error);
  }
}

function unreachable(target: Target, error: Error): CliError {
  return new CliError(
    'PBX_CLI_UNREACHABLE',
    `${target.url} does not answer: ${error.message}`,
    "see that a Call Manager leads and holds the VIP: 'raftpbx lab status'",
  );
}

function refusal(status: number, text: string): CliError {
  const { code, message, fix } = parse(text) as { code?: string; message?: string; fix?: string };
  return new CliError(
    code ?? `HTTP_${status}`,
    message ?? text.slice(0, 200),
    fix ?? 'see the log of the server',
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) {
      return {};
    }
    throw error;
  }
}

function send(
  target: Target,
  method: string,
  path: string,
  payload: string | undefined,
  timeoutMs: number,
): Promise<{ status: number; text: string }> {
  const basic = Buffer.from(`${target.user}:${target.password}`).toString('base64');
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, target.url),
      {
        method,
        ...(target.authority === undefined ? {} : { ca: target.authority }),
        agent: false,
        timeout: timeoutMs,
        headers: {
          authorization: `Basic ${basic}`,
          ...(payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        },
      },
      (incoming) => {
        const parts: Buffer[] = [];
        incoming.on('data', (part: Buffer) => parts.push(part));
        incoming.on('error', reject);
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
        );
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.on('error', reject);
    outgoing.end(payload);
  });
}
