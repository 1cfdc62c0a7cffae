import { afterEach, expect, it } from 'vitest';
import { describeFatal } from '../../../src/observe/fatal.ts';
import { Health } from '../../../src/observe/health.ts';
import { callLog, createLog, writeNativeLine } from '../../../src/observe/log.ts';
import { Metrics } from '../../../src/observe/metrics.ts';
import { type ObserveServer, startObserveServer } from '../../../src/observe/server.ts';

let server: ObserveServer | undefined;
afterEach(() => server?.close());

it('healthz is 503 while starting, 200 when every check is well, 503 with what is wrong', async () => {
  const health = new Health('cm-1', ['call-manager']);
  let leader = true;
  health.check('store', () => (leader ? null : 'no leader'));
  server = await startObserveServer('127.0.0.1:0', new Metrics('cm-1'), health);
  const ask = () => fetch(`http://127.0.0.1:${server?.port}/healthz`);
  expect((await ask()).status).toBe(503);
  health.started();
  expect((await ask()).status).toBe(200);
  leader = false;
  const failing = await ask();
  expect(failing.status).toBe(503);
  expect(await failing.json()).toEqual({
    status: 'failing',
    server: 'cm-1',
    roles: ['call-manager'],
    failing: { store: 'no leader' },
  });
});

it('a check that throws counts as failing', () => {
  const health = new Health('cm-1', []);
  health.started();
  health.check('engine', () => {
    throw new Error('gone');
  });
  expect(health.report().failing).toEqual({ engine: 'gone' });
});

it('metrics are those of the process followed by those of the Rust side', async () => {
  const metrics = new Metrics('media-1');
  metrics.add(() => '# TYPE raftpbx_media_sessions gauge\nraftpbx_media_sessions 3');
  server = await startObserveServer('127.0.0.1:0', metrics, new Health('media-1', ['media']));
  const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  expect(text).toMatch(/raftpbx_process_cpu_seconds_total\{server="media-1"\}/);
  expect(text.endsWith('raftpbx_media_sessions 3\n')).toBe(true);
});

it('a line about a call carries its id, a line of the Rust side its target', () => {
  const lines: Record<string, unknown>[] = [];
  const log = createLog('cm-1', 'info', { write: (line) => lines.push(JSON.parse(line)) });
  callLog(log, 'c-7').info('ringing');
  writeNativeLine(log, {
    level: 'warn',
    target: 'raftpbx_store::wal',
    message: 'slow',
    fields: { ms: '30' },
  });
  expect(lines[0]).toMatchObject({ server: 'cm-1', call: 'c-7', level: 'info', msg: 'ringing' });
  expect(lines[1]).toMatchObject({ target: 'raftpbx_store::wal', ms: '30', level: 'warn' });
});

it('an error of the addon is told with its own code, and with what to do', () => {
  const text = 'PBX_RESTORE_RUNNING: state is in use: a node runs there; stop every node first';
  const thrown = Object.assign(new Error(text), { code: 'GenericFailure' });
  expect(describeFatal(thrown)).toEqual({
    code: 'PBX_RESTORE_RUNNING',
    message: 'state is in use: a node runs there',
    fix: 'stop every node first',
  });
  const system = Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' });
  expect(describeFatal(system)).toMatchObject({ code: 'EADDRINUSE', message: 'listen EADDRINUSE' });
});
