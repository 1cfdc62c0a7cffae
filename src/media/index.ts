/**
 * The media server role: relays the audio of calls, told by call control with NG commands.
 *
 * # Layout
 * - `machine.ts`: what it says of itself (pure)
 * - `effects.ts`: engine and lease
 * - `floating.ts`: the addresses that move between media servers
 * - `api.ts`: what may be asked inside the process
 * - `README.md`: what is kept when this server dies
 */
import type { StoreClientOptions } from '../cluster/index.ts';
import type { Log } from '../domain/log.ts';
import type { RoleHandle } from '../domain/server.ts';
import { MediaServer } from './effects.ts';
import type { FloatingOptions } from './floating.ts';

export type { MediaServerApi } from './api.ts';

export interface MediaServerContext {
  name: string;
  log: Log;
  /** Address of this server, for its lease. */
  address: string;
  roles: readonly string[];
  version: string;
  /** Addresses for RTP; `address` alone unless given. */
  interfaces?: readonly { local: string; advertised: string | null }[];
  /** Addresses that move to another server when this one dies. */
  floating?: FloatingOptions | null;
  /** `host:port` of the NG listener. */
  ngListen: string;
  /** `host:port` of the NG listener of TCP and WebSocket; none unless given. */
  ngTcpListen?: string | undefined;
  ports: { from: number; to: number };
  /** Threads that move packets; 1 unless given. */
  workers?: number;
  /** Silence after which a session is given up; 60 s unless given. */
  timeoutS?: number;
  /** Folder of recordings; without one nothing is recorded. */
  recordings?: string | undefined;
  /** Folder below which `play media` finds files; without one no file is played. */
  prompts?: string | undefined;
  /** Whether the kernel relays established flows: where it can unless given. */
  fastPath?: 'auto' | 'off';
  /** How all other packets are received and sent: the best that works here unless given. */
  packetIo?: 'auto' | 'epoll' | 'io_uring' | 'sk_lookup';
  /** How recordings are written; `wav` unless given. */
  recordingFormat?: 'wav' | 'opus';
  /** Shared libraries of further codecs. */
  codecs?: readonly string[];
  /** `address:port` or Unix socket of who takes forwarded sound; without one none is forwarded. */
  forwardTo?: string | undefined;
  /** Samples a second of it; 8000 unless given. */
  forwardRateHz?: 8_000 | 16_000 | 48_000;
  /** Where the store is: normally the VIP. */
  store: StoreClientOptions;
}

/** Resolves when NG is answered; the lease follows as soon as the store can be reached. */
export async function startMediaServer(context: MediaServerContext): Promise<RoleHandle> {
  return new MediaServer(context);
}
