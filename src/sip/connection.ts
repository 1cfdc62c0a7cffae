/**
 * The connection to a SIP engine by unmodified drachtio-srf. Owner of the `Srf` instance.
 * A lost connection is retried for ever; what was waiting for an echo on it never gets one,
 * so whoever keeps calls rebuilds them when `onUp` comes again.
 *
 * Each attempt is a client of drachtio-srf of its own. Its own way to try again speaks plain TCP
 * even where the first connection was TLS, and cannot be stopped while nothing is connected.
 */
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import {
  type Agent,
  lineOf,
  type SipRequest,
  type SipResponse,
  Srf,
  type SrfInstance,
} from './srf.ts';

type Handler = (req: SipRequest, res: SipResponse) => void;

export interface ConnectionOptions {
  host: string;
  port: number;
  secret: string;
  /** PEM of whom to trust: the connection is TLS. Null, as without it: it is not. */
  authority?: string | null;
  /** Ask a peer on another machine whether it is there: its death closes no connection. */
  pings?: boolean;
  log: Log;
  /** A request that no built dialog takes; true when it is taken now. */
  onStray(req: SipRequest, res: SipResponse, next: () => void): boolean;
  /** A new INVITE outside a dialog. */
  onInvite: Handler;
  /** Other requests outside dialogs, by method; the engine is asked for these methods. */
  others?: Partial<Record<'register' | 'options', Handler>>;
  /** Connected and authenticated, the first time or again. */
  onUp(): void;
  onDown(): void;
}

export interface SipConnection {
  readonly srf: SrfInstance;
  readonly up: boolean;
  /** Connects, and again whenever the connection is lost. Does nothing when it is open. */
  open(): void;
  /** Disconnects, and tries no more. */
  close(): void;
}

/** Begins with `open`. */
export function engineConnection(options: ConnectionOptions): SipConnection {
  return new Connection(options);
}

class Connection implements SipConnection {
  readonly srf: SrfInstance = new Srf();
  readonly #options: ConnectionOptions;
  /** The client that counts now; what others still say is not heard. */
  #client: Agent | null = null;
  #up = false;
  #pauseMs: number = limits.engineReconnectMsMin;
  #retry: NodeJS.Timeout | null = null;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { srf } = this;
    srf.use((req, res, next) => {
      if (!options.onStray(req, res, next)) {
        next();
      }
    });
    srf.invite((req, res) => {
      if (req.isNewInvite) {
        options.onInvite(req, res);
      } else {
        res.send(481);
      }
    });
    for (const method of ['register', 'options'] as const) {
      const handler = options.others?.[method];
      if (handler !== undefined) {
        srf[method]((req, res) => (req.stackDialogId ? res.send(481) : handler(req, res)));
      }
    }
    // Last in line: in-dialog requests of dialogs nobody knows.
    srf.use((req, res) => {
      if (req.method !== 'ACK') {
        res.send(481);
      }
    });
    // Told by each client, too; without a listener here it would be thrown.
    srf.on('error', () => undefined);
  }

  get up(): boolean {
    return this.#up;
  }

  open(): void {
    if (this.#client === null && this.#retry === null) {
      this.#connect();
    }
  }

  close(): void {
    if (this.#retry !== null) {
      clearTimeout(this.#retry);
      this.#retry = null;
    }
    const client = this.#client;
    this.#client = null;
    this.#up = false;
    if (client !== null && client.mapServer.size > 0) {
      client.disconnect();
    }
  }

  #connect(): void {
    const { host, port, secret, authority, pings = false, log } = this.#options;
    const tls = authority ? { tls: { ca: authority } } : {};
    const ping = pings ? { enablePing: true, pingInterval: limits.enginePingMs } : {};
    // One attempt: the next is a client of its own.
    this.srf.connect({ host, port, secret, ...tls, ...ping, reconnect: { maxAttempts: 1 } });
    const client = this.srf.app.client;
    if (client === undefined) {
      return;
    }
    this.#client = client;
    client.on('connect', (error: Error | null) => {
      if (this.#client !== client) {
        // It was closed while it connected.
        client.disconnect();
      } else if (error) {
        log.error({ error: error.message }, 'the SIP engine refused the secret');
      } else {
        this.#up = true;
        this.#pauseMs = limits.engineReconnectMsMin;
        if (pings) {
          this.#watch(client);
        }
        this.#options.onUp();
      }
    });
    client.on('error', (error: Error) => {
      log.debug({ error: error.message }, 'the SIP engine is not reachable');
      this.#lost(client);
    });
    client.on('close', () => this.#lost(client));
  }

  /** Ends a connection on which not even the answers to pings come. */
  #watch(client: Agent): void {
    let heard = -1;
    const timer = setInterval(() => {
      const socket = lineOf(client)?.socket;
      if (this.#client !== client || socket === undefined) {
        clearInterval(timer);
      } else if (socket.bytesRead === heard) {
        socket.destroy();
      } else {
        heard = socket.bytesRead;
      }
    }, limits.engineSilenceMs);
    timer.unref();
  }

  #lost(client: Agent): void {
    if (this.#client !== client) {
      return;
    }
    this.#client = null;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#connect();
    }, this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, limits.engineReconnectMsMax);
    if (this.#up) {
      this.#up = false;
      this.#options.log.warn({}, 'connection to the SIP engine is lost');
      this.#options.onDown();
    }
  }
}
