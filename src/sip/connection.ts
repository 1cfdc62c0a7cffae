/**
 * The connection to the SIP engine by unmodified drachtio-srf. Owner of the `Srf` instance.
 * A lost connection is retried for ever; what was waiting for an echo on it never gets one,
 * so whoever keeps calls rebuilds them when `onUp` comes again.
 */
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import { type SipRequest, type SipResponse, Srf, type SrfInstance } from './srf.ts';

export interface ConnectionOptions {
  host: string;
  port: number;
  secret: string;
  log: Log;
  /** A new INVITE outside a dialog. */
  onInvite(req: SipRequest, res: SipResponse): void;
  /** Connected and authenticated, the first time or again. */
  onUp(): void;
  onDown(): void;
}

export interface SipConnection {
  readonly srf: SrfInstance;
  readonly up: boolean;
  close(): void;
}

export function connectEngine(options: ConnectionOptions): SipConnection {
  const { log } = options;
  const srf = new Srf();
  const state = { up: false, closed: false };
  const down = () => {
    if (state.up) {
      state.up = false;
      log.warn({}, 'connection to the SIP engine is lost');
      options.onDown();
    }
  };
  srf.invite((req, res) => {
    if (req.isNewInvite) {
      options.onInvite(req, res);
    } else {
      res.send(481);
    }
  });
  // Last in line: in-dialog requests of dialogs nobody knows.
  srf.use((req, res) => {
    if (req.method !== 'ACK') {
      res.send(481);
    }
  });
  srf.on('connect', (error: Error | null) => {
    if (state.closed) {
      return;
    }
    if (error) {
      log.error({ error: error.message }, 'the SIP engine refused the secret');
      return;
    }
    state.up = true;
    options.onUp();
  });
  srf.on('error', (error: Error) => {
    log.debug({ error: error.message }, 'the SIP engine is not reachable');
    down();
  });
  srf.on('close', down);
  srf.connect({
    host: options.host,
    port: options.port,
    secret: options.secret,
    reconnect: { retryMaxDelay: limits.engineReconnectMsMax },
  });
  return {
    srf,
    get up() {
      return state.up;
    },
    close() {
      state.closed = true;
      if (state.up) {
        state.up = false;
        srf.disconnect();
      }
    },
  };
}
