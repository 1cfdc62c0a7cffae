/** TCP ports of this machine that nobody has at this moment. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Ports that the system gives to nobody by itself, so that no outgoing connection takes one
 * between the look and the use; those that single tests name are below and above.
 */
const portsFrom = 17_000;
const portsCount = 13_000;
/** Prime, so that test files that run at the same time begin far from each other. */
const stride = 97;

let next = (process.pid * stride) % portsCount;

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** Each is given once by this process. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let looked = 0; ports.length < count; looked += 1) {
    if (looked === portsCount) {
      throw new Error(`no ${count} free ports from ${portsFrom} on`);
    }
    next = (next + 1) % portsCount;
    if (await isFree(portsFrom + next)) {
      ports.push(portsFrom + next);
    }
  }
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server, 'listening').then(
    () => true,
    () => false,
  );
  server.listen(port, '127.0.0.1');
  if (!(await listening)) {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
