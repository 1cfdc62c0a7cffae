/** The media server role. */
import type { StoreClientOptions } from '../cluster/index.ts';
import type { Log } from '../domain/log.ts';
import type { RoleHandle } from '../domain/server.ts';

export interface MediaServerContext {
  name: string;
  log: Log;
  /** Address of this server, for its lease. */
  address: string;
  roles: readonly string[];
  version: string;
  /** Addresses for RTP; `address` alone unless given. */
  interfaces?: readonly { local: string; advertised: string | null }[];
  /** `host:port` of the NG listener. */
  ngListen: string;
  ports: { from: number; to: number };
  /** Threads that move packets; 1 unless given. */
  workers?: number;
  /** Silence after which a session is given up; 60 s unless given. */
  timeoutS?: number;
  /** Where the store is: normally the VIP. */
  store: StoreClientOptions;
}

export async function startMediaServer(context: MediaServerContext): Promise<RoleHandle> {
  throw new Error(`not yet: ${context.name}`);
}
