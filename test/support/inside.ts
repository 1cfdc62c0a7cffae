/**
 * Runs one of our modules in a child process inside a network namespace and calls its
 * functions over the child's IPC channel. A namespace belongs to a process, so whatever
 * must send packets from `rpbx-phones` has to live in a process of its own.
 *
 * The child ends itself when the channel closes: a killed test leaves nothing behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

interface Question {
  id: number;
  method: string;
  args: unknown[];
}

interface Answer {
  id: number;
  value?: unknown;
  error?: string;
}

/** A running child; `call` rejects with the child's error text, or when the child has gone. */
export interface Inside {
  pid: number;
  call<T>(method: string, ...args: unknown[]): Promise<T>;
  stop(): Promise<void>;
}

/** Starts `module`, which must call `serve`, inside `namespace`; null stays in our own. */
export function openInside(namespace: string | null, module: URL): Inside {
  const node = [process.execPath, fileURLToPath(module)];
  const argv = namespace === null ? node : ['ip', 'netns', 'exec', namespace, ...node];
  const child = spawn(argv[0] as string, argv.slice(1), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { PATH: process.env.PATH ?? '' },
  });
  const open = new Map<number, { resolve: (v: never) => void; reject: (e: Error) => void }>();
  let lastId = 0;
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => {
      for (const { reject } of open.values()) {
        reject(new Error(`the process inside ${namespace} has gone`));
      }
      open.clear();
      resolve();
    });
  });
  child.on('message', (answer: Answer) => {
    const waiting = open.get(answer.id);
    open.delete(answer.id);
    if (answer.error === undefined) {
      waiting?.resolve(answer.value as never);
    } else {
      waiting?.reject(new Error(answer.error));
    }
  });
  return {
    pid: child.pid ?? 0,
    call: <T>(method: string, ...args: unknown[]) =>
      new Promise<T>((resolve, reject) => {
        lastId += 1;
        open.set(lastId, { resolve, reject });
        child.send({ id: lastId, method, args } satisfies Question);
      }),
    stop: () => stop(child, gone),
  };
}

async function stop(child: ChildProcess, gone: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 2000);
  await gone;
  clearTimeout(late);
}

/** Called by the child module: answers each question with the function of that name. */
export function serve(commands: Record<string, (...args: never[]) => unknown>): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', async ({ id, method, args }: Question) => {
    try {
      const command = commands[method];
      if (command === undefined) {
        throw new Error(`no such command: ${method}`);
      }
      const value = await command(...(args as never[]));
      process.send?.({ id, value } satisfies Answer);
    } catch (error) {
      process.send?.({ id, error: (error as Error).message } satisfies Answer);
    }
  });
}
