/** What the API says and takes about trunks and routes, as schemas; see `shapes.ts`. */
import { z } from 'zod';

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, {
  error: 'may have only a-z, 0-9 and -, 31 at most',
});
const pattern = z.string().min(1).max(33).describe('digits, + * #, X Z N, a dot at the end');
const number = z.string().max(64);
const strip = z.int().min(0).max(32).default(0).describe('characters taken off at the front');
const mode = z.enum(['register', 'peer']);
const transport = z.enum(['udp', 'tcp', 'tls']);

export const trunkName = z.strictObject({ name });

export const trunkShape = z.object({
  name: z.string(),
  mode,
  proxy: z.string(),
  transport,
  domain: z.string(),
  user: z.string(),
  callerId: z.string(),
  channelsMax: z.number(),
  networks: z.array(z.string()).describe('where its calls come from'),
  enabled: z.boolean(),
  state: z.enum(['registered', 'failed', 'trying', 'peer', 'disabled']),
  registeredUntil: z.iso.datetime().nullable(),
  reason: z.string().nullable().describe('why the last attempt to register failed'),
  answers: z.boolean().nullable().describe('whether it answers OPTIONS; null: it is not asked'),
  createdAt: z.iso.datetime(),
});
export type TrunkEntry = z.output<typeof trunkShape>;

export const newTrunkShape = z.strictObject({
  name,
  proxy: z.string().min(1).max(261).describe('HOST or HOST:PORT'),
  mode: mode.optional().describe('left away: register with a user, peer without'),
  transport: transport.optional(),
  domain: z.string().min(1).max(255).optional().describe('host in URIs; the proxy when left away'),
  user: z.string().min(1).max(64).optional(),
  password: z.string().min(1).max(128).optional().describe('kept sealed, never shown'),
  callerId: number.min(1).optional(),
  channelsMax: z.int().min(1).optional(),
  sources: z.array(z.string().max(64)).max(16).optional().describe('ADDRESS or ADDRESS/BITS'),
});

export const trunkChangeShape = z.strictObject({ enabled: z.boolean() });

export const outboundShape = z.strictObject({
  pattern,
  strip,
  prepend: number.default(''),
  trunks: z.array(name).min(1).max(16).describe('tried in this order'),
});
export type OutboundEntry = z.output<typeof outboundShape>;

export const inboundShape = z.strictObject({
  pattern,
  trunk: z
    .union([name, z.literal('')])
    .default('')
    .describe('only its calls; empty: any'),
  to: number.default('').describe('user or number; empty: the number, rewritten'),
  strip,
  prepend: number.default(''),
});
export type InboundEntry = z.output<typeof inboundShape>;

export const patternQuery = z.strictObject({ pattern });
export const inboundQuery = z.strictObject({ pattern, trunk: name.optional() });
