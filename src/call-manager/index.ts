/** The Call Manager role. */
import type { Log } from '../domain/log.ts';
import type { RoleHandle } from '../domain/server.ts';
import type { SipEngine, Store } from '../native/index.ts';
import type { SipEventFeed } from '../sip/event-feed.ts';
import type { CallManagerApi } from './api.ts';

export interface CallManagerContext {
  name: string;
  log: Log;
  /** SIP domain and digest realm of the users. */
  domain: string;
  /** Address of this server, for its lease. */
  address: string;
  /** Every role this server carries. */
  roles: readonly string[];
  version: string;
  /** Every Call Manager: the store knows numbers, people know names. */
  peers: readonly { id: number; name: string }[];
  vip: readonly string[];
  store: Store;
  engine: SipEngine;
  /** The feed whose `push` was given to `SipEngine.start`. */
  sipEvents: SipEventFeed;
  drachtio: { host: string; port: number; secret: string };
  /** Time to ring before a call counts as not answered; 60 s unless given. */
  answerTimeoutMs?: number;
}

export interface CallManagerHandle extends RoleHandle {
  api: CallManagerApi;
}

export async function startCallManager(context: CallManagerContext): Promise<CallManagerHandle> {
  throw new Error(`not yet: ${context.name}`);
}
