/** Records of calls that have ended, the newest first. */
import type { FastifyInstance } from 'fastify';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { addListing } from './listing.ts';
import { cdrShape } from './shapes.ts';

export function addCdrs(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'cdrs', cdrShape, ({ limit, after }) => {
    const before = after === undefined ? {} : { before: after };
    const items = source.cdrs({ limit, ...before });
    return { items, next: items.length < limit ? null : (items.at(-1)?.endedAt ?? null) };
  });
}
