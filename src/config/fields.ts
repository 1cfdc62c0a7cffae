/** Values that several sections of the configuration have. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { splitAddress } from './address.ts';

export const ipAddress = z
  .string()
  .refine((text) => isIP(text) !== 0, { error: 'is not an IP address' })
  .meta({ example: '10.77.0.11' });

export const socketAddress = z
  .string()
  .refine(isSocketAddress, { error: 'is not ADDRESS:PORT (IPv6 in brackets)' })
  .meta({ example: '10.77.0.11:2223' });

/** Longest name of a Unix socket, bytes (`sockaddr_un`). */
const socketNameMax = 107;

/** Where a stream can be sent: a TCP port, or a Unix socket by its whole path. */
export const consumerAddress = z
  .string()
  .refine(
    (text) =>
      isSocketAddress(text) || (text.startsWith('/') && Buffer.byteLength(text) <= socketNameMax),
    { error: 'is neither ADDRESS:PORT nor the whole path of a Unix socket' },
  )
  .meta({ example: '10.77.0.31:9000' });

export const port = z
  .int({ error: 'is not a port number' })
  .min(1, { error: 'is below 1' })
  .max(65_535, { error: 'is above 65535' });

export const file = z
  .string()
  .min(1, { error: 'is empty' })
  .describe('a file, relative to the configuration file');

/** `HOST:PORT`, a name or an address. */
export function isHostAndPort(text: string): boolean {
  const address = splitAddress(text);
  return isSocketAddress(text) || (address !== null && /^[A-Za-z0-9.-]+$/.test(address.host));
}

/** `ADDRESS:PORT`. */
export function isSocketAddress(text: string): boolean {
  const address = splitAddress(text);
  return address !== null && isIP(address.host) === (text.startsWith('[') ? 6 : 4);
}
