/** A kamailio as a telephone provider; `provider.cfg` says what it does. */
import { Kamailio } from './process.ts';

export interface ProviderOptions {
  namespace: string;
  address: string;
  port: number;
  /** Of its challenges. */
  algorithm: 'MD5' | 'SHA-256';
  /** How long it keeps a registration at most, s. */
  expiresS: number;
}

export class Provider extends Kamailio {
  constructor({ algorithm, expiresS, ...place }: ProviderOptions) {
    const names = {
      ALGORITHM: `"${algorithm === 'MD5' ? '' : algorithm}"`,
      EXPIRES: `${expiresS}`,
    };
    super({ configuration: 'provider', ...place, names });
  }
}
