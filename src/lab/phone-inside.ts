/**
 * Runs inside the phones' namespace: starts baresip and carries its control connection:
 * commands from standard input, answers as messages to the parent. It ends, and baresip with it,
 * when its input does.
 *
 *   node phone-inside.ts DIRECTORY CONTROL-PORT
 */
import { spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** baresip opens its control port within this time. */
const controlDeadlineMs = 10_000;

const [directory = '', port = ''] = process.argv.slice(2);
const baresip = spawn('baresip', ['-f', directory, '-v'], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
baresip.on('error', () => process.exit(1));
// Waiting for it keeps no zombie behind.
baresip.on('exit', () => process.exit(0));
const end = () => baresip.kill('SIGKILL');
process.stdin.on('end', end);
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, end);
}

const deadline = performance.now() + controlDeadlineMs;
let control: Socket | null = null;
while (control === null && performance.now() < deadline) {
  control = await tryConnect(Number(port));
  if (control === null) {
    await delay(20);
  }
}
if (control === null) {
  end();
} else {
  process.stdin.pipe(control);
  control.on('close', end);
  // Standard output is baresip's own: the answers go to the parent as messages.
  control.setEncoding('utf8').on('data', (text: string) => process.send?.(text));
}

function tryConnect(number: number): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(number, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(null));
  });
}
