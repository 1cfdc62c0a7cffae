/**
 * The store as the other servers reach it: the Redis protocol on the Call Managers, normally
 * through the VIP. Reconnects for ever, one host after the other; a command that is not
 * answered in time fails instead of waiting.
 */
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';

export interface StoreClientOptions {
  /** `host:port`, IPv6 in brackets; tried in turn. */
  hosts: readonly string[];
  username?: string;
  password: string;
  /** PEM file of the authority that signed the stores; left away, the connection is plain TCP. */
  authority?: string;
}

/** Connects in the background; commands wait for the connection, bounded by their timeout. */
export function connectStore(options: StoreClientOptions & { log: Log }): Redis {
  const places = options.hosts.map(parseHost);
  const first = places[0];
  if (first === undefined) {
    throw new Error('connectStore needs at least one host');
  }
  let turn = 0;
  const redis = new Redis({
    host: first.host,
    port: first.port,
    ...(options.username === undefined ? {} : { username: options.username }),
    password: options.password,
    ...(options.authority === undefined ? {} : { tls: { ca: readFileSync(options.authority) } }),
    connectTimeout: limits.storeConnectTimeoutMs,
    commandTimeout: limits.storeCommandTimeoutMs,
    socketTimeout: limits.storeSilenceMs,
    maxRetriesPerRequest: limits.storeCommandRetries,
    enableReadyCheck: false,
    keepAlive: 5000,
    retryStrategy: (attempt) => {
      turn = (turn + 1) % places.length;
      const place = places[turn];
      if (place !== undefined) {
        redis.options.host = place.host;
        redis.options.port = place.port;
      }
      if (options.authority !== undefined) {
        renewAuthority(redis, options.authority, options.log);
      }
      return Math.min(attempt * 50, limits.storeReconnectMsMax);
    },
  });
  redis.on('error', (error: Error) => {
    options.log.debug({ error: error.message, host: redis.options.host }, 'store is not reachable');
  });
  redis.on('ready', () => options.log.info({ host: redis.options.host }, 'connected to the store'));
  return redis;
}

/**
 * Each attempt trusts the authority that stands in the file now: it can be changed while this
 * server runs. A file that cannot be read leaves the one before.
 */
function renewAuthority(redis: Redis, file: string, log: Log): void {
  try {
    redis.options.tls = { ca: readFileSync(file) };
  } catch (error) {
    log.warn({ file, error: (error as Error).message }, 'authority of the store cannot be read');
  }
}

/** Splits `host:port`; an IPv6 host stands in brackets. */
export function parseHost(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new Error(`'${text}' is not host:port`);
  }
  return { host, port };
}
