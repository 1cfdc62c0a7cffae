/**
 * Runs sipp inside a namespace with one of the scenarios in `sipp/`, and reads back its
 * statistics and its message trace. Every run has a deadline and a folder of its own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toneFrame } from './phone/tone.ts';

export interface SippOptions {
  scenario: string;
  /** null stays in our own namespace. */
  namespace: string | null;
  /** `address:port` of the server; absent for a scenario that only waits. */
  remote?: string;
  address: string;
  port: number;
  /** One row a call; a waiting scenario needs none. */
  rows?: { user: { name: string; password: string }; callee?: string }[];
  calls?: number;
  perSecond?: number;
  /** Length of a pause in the scenario, the talk. */
  talkMs?: number;
  transport?: 'udp' | 'tcp';
  domain: string;
  /** Port named in SDP by the scenarios that do not stream themselves. */
  audioPort?: number;
  /** Port named in the Contact of `register`. */
  contactPort?: number;
  timeoutMs: number;
}

export interface SippResult {
  /** sipp's own: 0 all calls well, 1 some failed, null when the deadline ended it. */
  status: number | null;
  successful: number;
  failed: number;
  retransmissions: number;
  /** Each message as traced, in order. */
  messages: { sent: boolean; text: string }[];
  errors: string;
}

/** A tone whose period divides a frame, so every frame of the stream is the same. */
export const sippToneHertz = 450;

/** A running sipp; `done` never rejects. */
export interface SippRun {
  done: Promise<SippResult>;
  stop(): Promise<SippResult>;
}

export function startSipp(options: SippOptions): SippRun {
  const folder = mkdtempSync(join(tmpdir(), 'raftpbx-sipp-'));
  const tone = Array.from({ length: 50 }, (_, i) => toneFrame(sippToneHertz, i));
  writeFileSync(join(folder, 'tone.ulaw'), Buffer.concat(tone));
  if (options.rows !== undefined) {
    const rows = options.rows.map(({ user, callee }) =>
      [user.name, authentication(user), callee ?? ''].join(';'),
    );
    writeFileSync(join(folder, 'rows.csv'), `${['SEQUENTIAL', ...rows].join('\n')}\n`);
  }
  const argv = ['sipp', ...argumentsOf(options)];
  const full =
    options.namespace === null ? argv : ['ip', 'netns', 'exec', options.namespace, ...argv];
  const child = spawn(full[0] as string, full.slice(1), { cwd: folder, stdio: 'ignore' });
  const done = finished(child, options.timeoutMs).then((status) => {
    const result = read(folder, status);
    rmSync(folder, { recursive: true, force: true });
    return result;
  });
  return {
    done,
    stop: () => {
      child.kill('SIGKILL');
      return done;
    },
  };
}

/** Starts sipp and waits for its end. */
export function runSipp(options: SippOptions): Promise<SippResult> {
  return startSipp(options).done;
}

/** sipp fills this in with the digest answer, but only when a whole field holds it. */
function authentication({ name, password }: { name: string; password: string }): string {
  return `[authentication username=${name} password=${password}]`;
}

function argumentsOf(options: SippOptions): string[] {
  const scenario = new URL(`./sipp/${options.scenario}.xml`, import.meta.url);
  const fixed = ['-nostdin', '-trace_msg', '-message_file', 'messages.log', '-trace_err'];
  const files = ['-error_file', 'errors.log', '-trace_stat', '-stf', 'statistics.csv', '-fd', '1'];
  return [
    ...(options.remote === undefined ? [] : [options.remote]),
    ...['-sf', fileURLToPath(scenario), '-i', options.address, '-p', String(options.port)],
    ...['-mp', String(options.port + 10_000)],
    ...['-mi', options.address, '-t', options.transport === 'tcp' ? 't1' : 'u1'],
    ...(options.rows === undefined ? [] : ['-inf', 'rows.csv']),
    ...['-m', String(options.calls ?? options.rows?.length ?? 1)],
    ...['-r', String(options.perSecond ?? 10), '-d', String(options.talkMs ?? 1000)],
    ...['-key', 'domain', options.domain, '-key', 'audio_port', String(options.audioPort ?? 9)],
    ...['-key', 'contact_port', String(options.contactPort ?? options.port)],
    ...['-recv_timeout', String(options.timeoutMs), ...fixed, ...files],
  ];
}

function finished(child: ChildProcess, timeoutMs: number): Promise<number | null> {
  return new Promise((resolve) => {
    const late = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.once('error', () => resolve(null));
    child.once('exit', (code) => {
      clearTimeout(late);
      resolve(code);
    });
  });
}

function read(folder: string, status: number | null): SippResult {
  const text = (name: string) => {
    try {
      return readFileSync(join(folder, name), 'latin1');
    } catch {
      // A sipp that was refused its socket writes no files; its status says so.
      return '';
    }
  };
  const lines = text('statistics.csv').trim().split('\n');
  const names = (lines[0] ?? '').split(';');
  const last = (lines.at(-1) ?? '').split(';');
  const count = (name: string) => Number(last[names.indexOf(name)] ?? 0) || 0;
  return {
    status,
    successful: count('SuccessfulCall(C)'),
    failed: count('FailedCall(C)'),
    retransmissions: count('Retransmissions(C)'),
    messages: traced(text('messages.log')),
    errors: text('errors.log'),
  };
}

/** The trace separates messages by dashed lines: "UDP message sent (392 bytes):", then the text. */
function traced(log: string): { sent: boolean; text: string }[] {
  return log
    .split(/^-{20,}.*$/m)
    .map((part) => /message (sent|received).*?:\s*\n\s*\n?([\s\S]*)/.exec(part))
    .filter((found) => found !== null)
    .map((found) => ({ sent: found[1] === 'sent', text: (found[2] ?? '').trim() }));
}
