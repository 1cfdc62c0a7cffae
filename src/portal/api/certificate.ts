/**
 * The certificate of the API, read again when its files change. Connections that are open go on
 * with the one they began with; files that do not fit together leave the old one in use.
 */
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { Server } from 'node:net';
import { createSecureContext, type Server as TlsServer } from 'node:tls';
import type { Log } from '../../domain/log.ts';

/** As often as the store looks at the certificates of its links. */
const lookMs = 2000;

/** Files in PEM. */
export interface CertificateFiles {
  certificate: string;
  key: string;
}

/** Reads a pair and checks that it is one; throws when it is not. */
export function readPair(files: CertificateFiles): { cert: Buffer; key: Buffer } {
  const pair = { cert: readFileSync(files.certificate), key: readFileSync(files.key) };
  createSecureContext(pair);
  return pair;
}

export class Certificate {
  readonly #server: TlsServer;
  readonly #files: CertificateFiles;
  readonly #listener = () => this.#look();
  #log: Log | null = null;
  #used: Buffer;

  constructor(server: Server, files: CertificateFiles) {
    this.#server = server as TlsServer;
    this.#files = files;
    this.#used = readPair(files).cert;
  }

  /** Looks after the files until `close`. */
  follow(log: Log): void {
    this.#log = log;
    for (const file of [this.#files.certificate, this.#files.key]) {
      watchFile(file, { interval: lookMs, persistent: false }, this.#listener);
    }
  }

  /** Takes the files into use when they changed; throws when they are no pair. */
  reload(): void {
    const pair = readPair(this.#files);
    if (!pair.cert.equals(this.#used)) {
      this.#server.setSecureContext({ ...pair, minVersion: 'TLSv1.2' });
      this.#used = pair.cert;
      this.#log?.info({}, 'the certificate of the API was read again');
    }
  }

  #look(): void {
    try {
      this.reload();
    } catch (error) {
      const text = `the old certificate of the API stays in use: ${(error as Error).message}`;
      this.#log?.error({ fix: 'write a certificate and a key that fit together' }, text);
    }
  }

  close(): void {
    for (const file of [this.#files.certificate, this.#files.key]) {
      unwatchFile(file, this.#listener);
    }
  }
}
