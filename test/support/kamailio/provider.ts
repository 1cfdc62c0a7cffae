/** A kamailio as a telephone provider; `provider.cfg` says what it does. */
import { Kamailio } from './process.ts';

export interface ProviderOptions {
  /** null: our own. */
  namespace: string | null;
  address: string;
  port: number;
  /** Of its challenges. */
  algorithm: 'MD5' | 'SHA-256';
  /** How long it keeps a registration at most, s. */
  expiresS: number;
  /** TLS beside UDP: its port and files in PEM. Whom it connects to must be from the authority. */
  tls?: { port: number; certificate: string; key: string; authority: string };
}

export class Provider extends Kamailio {
  constructor({ algorithm, expiresS, tls, ...place }: ProviderOptions) {
    const names = {
      ALGORITHM: `"${algorithm === 'MD5' ? '' : algorithm}"`,
      EXPIRES: `${expiresS}`,
      ...(tls === undefined
        ? {}
        : {
            LISTEN_TLS: `tls:${place.address}:${tls.port}`,
            CERTIFICATE: `"${tls.certificate}"`,
            KEY: `"${tls.key}"`,
            AUTHORITY: `"${tls.authority}"`,
          }),
    };
    super({ configuration: 'provider', ...place, names });
  }
}
