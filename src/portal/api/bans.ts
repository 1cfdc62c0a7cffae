/** Sources the SIP engine does not listen to for a while. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { orThrow } from './errors.ts';
import { addListing, pageUpTo } from './listing.ts';
import { banShape, errorShape } from './shapes.ts';

export function addBans(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'bans', banShape, (page) => pageUpTo(page, source.bans(page), (one) => one.key));
  api.withTypeProvider<ZodTypeProvider>().delete(
    '/api/v1/bans/:address',
    {
      schema: {
        summary: 'Lift every ban that covers an address',
        tags: ['bans'],
        params: z.strictObject({ address: z.union([z.ipv4(), z.ipv6()]) }),
        response: { 200: z.object({ lifted: z.number() }), default: errorShape },
      },
    },
    async (request) => orThrow(await source.liftBan(request.params.address)),
  );
}
