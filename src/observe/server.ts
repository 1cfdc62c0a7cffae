/** Plain HTTP for machines: `/metrics` for Prometheus, `/healthz` for supervisors. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { splitAddress } from '../config/address.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';

/** A running listener. */
export interface ObserveServer {
  /** The port it really has. */
  port: number;
  close(): Promise<void>;
}

/** Starts the listener; rejects when the address cannot be bound. */
export async function startObserveServer(
  listen: string,
  metrics: Metrics,
  health: Health,
): Promise<ObserveServer> {
  const address = splitAddress(listen);
  if (address === null) {
    throw new Error(`${listen} is not ADDRESS:PORT`);
  }
  const server = createServer(
    { requestTimeout: 5000, maxHeaderSize: 8192 },
    (request, response) => {
      answer(request.method ?? '', request.url ?? '', response, metrics, health).catch((error) => {
        send(response, 500, 'text/plain', `${(error as Error).message}\n`);
      });
    },
  );
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, resolve);
  });
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    close: () => closeServer(server),
  };
}

async function answer(
  method: string,
  url: string,
  response: ServerResponse,
  metrics: Metrics,
  health: Health,
): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') {
    send(response, 405, 'text/plain', 'use GET\n');
    return;
  }
  const path = url.split('?', 1)[0];
  if (path === '/metrics') {
    send(response, 200, metrics.contentType, await metrics.text());
  } else if (path === '/healthz') {
    const report = health.report();
    const status = report.status === 'ok' ? 200 : 503;
    send(response, status, 'application/json', `${JSON.stringify(report)}\n`);
  } else {
    send(response, 404, 'text/plain', 'here are /metrics and /healthz\n');
  }
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
  response.end(body);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
