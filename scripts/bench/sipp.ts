/** One run of sipp, the load of every SIP benchmark, and what its statistics say. */
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { percentile } from './machine.ts';
import { finish, type Running, start } from './processes.ts';

/** What sipp is told. */
export interface SippLoad {
  /** A file of this directory. */
  scenario: string;
  /** How a command runs inside the namespace of the phones. */
  inside(argv: readonly string[]): string[];
  /** `address:port` of the server. */
  remote: string;
  address: string;
  port: number;
  domain: string;
  /** Fields of one call each, used in turn. */
  rows: readonly (readonly string[])[];
  perSecond: number;
  calls: number;
  /** Length of the pause in the scenario. */
  talkMs?: number;
  timeoutMs: number;
  /** When it resolves no more calls begin; those that are up go to their end. */
  enough?: Promise<unknown>;
}

/** What makes sipp begin no more calls. */
const enoughSignal = 'SIGUSR1';

/** What came of it; times are those between the marks of the scenario. */
export interface Load {
  successful: number;
  failed: number;
  retransmissions: number;
  seconds: number;
  p50Ms: number;
  p99Ms: number;
}

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A field that sipp fills with the answer to a challenge; it must be a whole one. */
export function authentication(name: string, password: string): string {
  return `[authentication username=${name} password=${password}]`;
}

/** Runs it to its end. Rejects when sipp itself fails; failed calls are only counted. */
export async function applyLoad(load: SippLoad): Promise<Load> {
  const folder = mkdtempSync(join(tmpdir(), 'raftpbx-sipp-'));
  try {
    const rows = load.rows.map((fields) => fields.join(';'));
    writeFileSync(join(folder, 'rows.csv'), `${['SEQUENTIAL', ...rows].join('\n')}\n`);
    // sipp writes its response times beside the scenario, each so many of them; the rest is lost.
    const scenario = basename(load.scenario);
    copyFileSync(file(`./${load.scenario}`), join(folder, scenario));
    const argv = load.inside([
      ...['sipp', load.remote, '-sf', scenario, '-i', load.address, '-p', String(load.port)],
      ...['-inf', 'rows.csv', '-key', 'domain', load.domain, '-d', String(load.talkMs ?? 0)],
      ...['-r', String(load.perSecond), '-m', String(load.calls), '-l', '20000'],
      ...['-recv_timeout', '8000', '-nostdin', '-trace_stat', '-stf', 'statistics.csv'],
      ...['-fd', '1', '-trace_rtt', '-rtt_freq', String(Math.ceil(load.calls / 20))],
      ...['-buff_size', '4194304'],
    ]);
    const startedAt = performance.now();
    const sipp = await finish(argv, load.timeoutMs, folder, (child) => {
      load.enough?.then(() => child.kill(enoughSignal));
    });
    if (sipp.status === null || sipp.status > 1) {
      throw new Error(`sipp failed (${sipp.status}): ${sipp.stderr.slice(-500)}`);
    }
    return summarise(folder, (performance.now() - startedAt) / 1000);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A sipp that rings, answers and waits for the BYE, until it is stopped. */
export function startAnswering(
  inside: SippLoad['inside'],
  address: string,
  port: number,
): Promise<Running> {
  return start(
    inside([
      ...['sipp', '-sf', file('./answer.xml'), '-i', address, '-p', String(port)],
      ...['-nostdin', '-l', '20000', '-buff_size', '4194304'],
    ]),
    null,
  );
}

function summarise(folder: string, seconds: number): Load {
  const lines = readFileSync(join(folder, 'statistics.csv'), 'latin1').trim().split('\n');
  const names = (lines[0] ?? '').split(';');
  const last = (lines.at(-1) ?? '').split(';');
  const count = (name: string) => Number(last[names.indexOf(name)] ?? 0);
  // There is none when no call succeeded.
  const rttFile = readdirSync(folder).find((name) => name.endsWith('_rtt.csv'));
  const rttLines = rttFile === undefined ? '' : readFileSync(join(folder, rttFile), 'latin1');
  const rtts = rttLines
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => Number(line.split(';')[1]));
  return {
    successful: count('SuccessfulCall(C)'),
    failed: count('FailedCall(C)'),
    retransmissions: count('Retransmissions(C)'),
    seconds,
    p50Ms: percentile(rtts, 0.5),
    p99Ms: percentile(rtts, 0.99),
  };
}

/** The columns every table of a load begins with. */
export const loadHead = ['server', 'rate/s', 'failed', 'retransm.', 'p50 ms', 'p99 ms'];

export function loadRow(name: string, load: Load): string[] {
  return [
    name,
    (load.successful / load.seconds).toFixed(0),
    String(load.failed),
    String(load.retransmissions),
    load.p50Ms.toFixed(1),
    load.p99Ms.toFixed(1),
  ];
}

/** Microseconds of processor time for each success. */
export function perSuccess(cpuSeconds: number, load: Load): string {
  return ((cpuSeconds * 1e6) / Math.max(1, load.successful)).toFixed(1);
}
