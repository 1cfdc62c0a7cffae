/** An unmodified drachtio-srf application, as far as the tests use it. */
import { type EventEmitter, once } from 'node:events';
import type { Server } from 'node:net';
import Untyped from 'drachtio-srf';

export interface Req extends EventEmitter {
  body: string;
  method: string;
  uri: string;
  stackDialogId: string;
  get(name: string): string;
  proxy(options: object): Promise<ProxyResult>;
}
export interface Res {
  send(status: number, options?: object): void;
}
export interface ProxyResult {
  connected: boolean;
  finalStatus: number;
  responses: { address: string; port: number; msgs: { status: number }[] }[];
}
export interface Dialog extends EventEmitter {
  id: string;
  destroy(): Promise<unknown>;
}
export type Handler = (req: Req, res: Res) => void;
export interface Application extends EventEmitter {
  connect(options: object): void;
  listen(options: object): Server;
  disconnect(): void;
  invite(handler: Handler): void;
  message(handler: Handler): void;
  use(method: string, handler: Handler): void;
  createUAS(req: Req, res: Res, options: { localSdp: string }): Promise<Dialog>;
  createUAC(uri: string, options: object): Promise<Dialog>;
  createB2BUA(
    req: Req,
    res: Res,
    uri: string,
    options: object,
  ): Promise<{ uas: Dialog; uac: Dialog }>;
}

export const Srf = Untyped as unknown as new (tags?: string[]) => Application;

/** Connects; the second of two disconnects, an error of its own there, does nothing. */
export async function application(
  at: { host: string; port: number; secret: string; tls?: object },
  tags?: string[],
): Promise<Application> {
  const app = tags === undefined ? new Srf() : new Srf(tags);
  app.on('error', () => undefined);
  const { disconnect } = app;
  let connected = true;
  app.disconnect = () => {
    if (connected) {
      connected = false;
      disconnect.call(app);
    }
  };
  app.connect(at);
  await once(app, 'connect');
  return app;
}
