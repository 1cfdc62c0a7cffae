/**
 * Runs inside a namespace for `Insider`: one JSON request a line on standard input, one JSON
 * answer a line on standard output. It ends when its input does.
 */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { createInterface } from 'node:readline';

/** A request as `Insider` writes it. */
export interface InsideRequest {
  id: number;
  url: string;
  method: string;
  headers: Record<string, string>;
  body: string | null;
  authority: string | null;
  timeoutMs: number;
}

/** Its answer; `error` is null when there was one. */
export interface InsideAnswer {
  id: number;
  status: number;
  body: string;
  error: string | null;
}

function perform(asked: InsideRequest): Promise<InsideAnswer> {
  const request = asked.url.startsWith('https:') ? requestHttps : requestHttp;
  return new Promise((resolve) => {
    const fail = (error: Error) =>
      resolve({ id: asked.id, status: 0, body: '', error: error.message });
    const outgoing = request(
      asked.url,
      {
        method: asked.method,
        headers: asked.headers,
        agent: false,
        timeout: asked.timeoutMs,
        ...(asked.authority === null ? {} : { ca: asked.authority }),
      },
      (incoming) => {
        const parts: Buffer[] = [];
        incoming.on('data', (part: Buffer) => parts.push(part));
        incoming.on('error', fail);
        incoming.on('end', () => {
          const body = Buffer.concat(parts).toString();
          resolve({ id: asked.id, status: incoming.statusCode ?? 0, body, error: null });
        });
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.on('error', fail);
    outgoing.end(asked.body ?? undefined);
  });
}

createInterface({ input: process.stdin }).on('line', (line) => {
  perform(JSON.parse(line) as InsideRequest).then((answer) => {
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  });
});
