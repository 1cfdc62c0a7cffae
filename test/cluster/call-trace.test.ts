import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killServer } from '../../src/lab/index.ts';
import type { TraceEntry } from '../../src/portal/api/shapes.ts';
import { talk } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import {
  openLab,
  type Pair,
  raftpbx,
  type TestLab,
  testLab,
  testTimeoutMs,
} from '../support/lab.ts';

let lab: TestLab;
let directory: string;
beforeAll(async () => {
  lab = await openLab();
  directory = mkdtempSync(join(tmpdir(), 'raftpbx-trace-'));
}, testTimeoutMs);
afterAll(async () => {
  await lab?.close();
  rmSync(directory, { recursive: true });
});

async function callOf({ caller }: Pair): Promise<string> {
  const call = (await lab.calls()).find((one) => one.from === caller.name);
  expect(call).toBeDefined();
  return call?.id ?? '';
}

async function traced(id: string): Promise<TraceEntry> {
  const { status, stdout, stderr } = await raftpbx('call', 'trace', id, '-o', 'json');
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as TraceEntry;
}

/** First words of the messages, `>` before those that came. */
function said({ messages }: Pick<TraceEntry, 'messages'>): string[] {
  return messages.map(({ sent, text }) => {
    const [first = '', second = ''] = text.split(' ');
    return `${sent ? '<' : '>'}${first === 'SIP/2.0' ? second : first}`;
  });
}

/** Methods and answers as tshark reads them. */
function dissected(file: string): string[] {
  const fields = ['-T', 'fields', '-E', 'separator=|', '-e', 'sip.Method', '-e', 'sip.Status-Code'];
  const text = execFileSync('tshark', ['-r', file, '-Y', 'sip', ...fields], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return text.trimEnd().split('\n');
}

test.each(['udp', 'tcp'] as const)(
  'both legs of a call over %s are shown as a ladder, as JSON and as a capture',
  async (transport) => {
    const pair = await lab.pair({ transport });
    await talk(pair);
    const id = await callOf(pair);

    const trace = await traced(id);
    expect(trace.callIds).toHaveLength(2);
    expect(trace.servers.filter(({ problem }) => problem !== null)).toEqual([]);
    const words = said(trace);
    expect(words.filter((word) => word === '>INVITE').length).toBeGreaterThanOrEqual(2);
    for (const word of [
      '<407',
      '<100',
      '<INVITE',
      '>180',
      '<180',
      '>200',
      '<ACK',
      '<200',
      '>ACK',
    ]) {
      expect(words).toContain(word);
    }
    expect(trace.messages.every((one) => one.transport === transport)).toBe(true);
    const proof = trace.messages.find(({ text }) => text.includes('Proxy-Authorization: '))?.text;
    expect(proof).toMatch(/response="\*{32}"/);

    const byCallId = await traced(trace.callIds[1] ?? '');
    expect(byCallId.messages).toEqual(trace.messages);

    const { stdout: ladder } = await raftpbx('call', 'trace', id);
    const [heading = '', ...lines] = ladder.trimEnd().split('\n');
    expect(heading.trim().split(/\s+/)).toEqual([pair.caller.name, 'pbx', pair.callee.name]);
    expect(lines).toHaveLength(trace.messages.length);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(lines[0]).toMatch(/^ {2}\+0\.000 {2}\|--INVITE 1 sdp-+>\| +\|$/);

    const file = join(directory, `${transport}.pcap`);
    expect((await raftpbx('call', 'trace', id, '--pcap', file)).status).toBe(0);
    expect(dissected(file)).toEqual(
      words.map((word) => (/\d{3}$/.test(word) ? `|${word.slice(1)}` : `${word.slice(1)}|`)),
    );
    expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  },
);

test('after a takeover the parts of two leaders are one trace, and a silent one is named', async () => {
  const pair = await lab.pair();
  await talk(pair);
  const id = await callOf(pair);
  const { name } = await lab.leader();
  await killServer(name, 'SIGSTOP', testLab);
  try {
    await lab.untilLeaderIsNot(name);
    expect(await pair.alice.bye()).toMatchObject({ status: 200 });
    const partial = await traced(id);
    const silent = partial.servers.filter(({ problem }) => problem !== null);
    expect(silent).toEqual([{ name, problem: 'it did not answer in time' }]);
    expect(said(partial).filter((word) => word.endsWith('BYE'))).toEqual(['>BYE', '<BYE']);
    const { stdout } = await raftpbx('call', 'trace', id);
    expect(stdout).toContain(`${name} is missing: it did not answer in time\n`);
  } finally {
    await killServer(name, 'SIGCONT', testLab);
  }
  await lab.untilHealthy();
  const whole = await eventually('the trace of every server', 20_000, async () => {
    const trace = await traced(id);
    return trace.servers.every(({ problem }) => problem === null) && trace;
  });
  const words = said(whole);
  expect(words[0]).toBe('>INVITE');
  expect(words.at(-1)).toMatch(/200$/);
  expect(whole.messages[0]?.server).toBe(name);
  expect(whole.messages.at(-1)?.server).not.toBe(name);
  expect(whole.messages.map(({ atUs }) => atUs)).toEqual(
    whole.messages.map(({ atUs }) => atUs).sort((a, b) => a - b),
  );
});

test('a call that nobody knows is refused with what to do', async () => {
  const { status, stderr } = await raftpbx('call', 'trace', 'no-such-call');
  expect(status).toBe(2);
  expect(stderr).toMatch(/^raftpbx: PBX_TRACE_UNKNOWN: .*no-such-call.*\n {2}fix: /);
});
