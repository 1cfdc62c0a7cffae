/** Records of calls that have ended, the newest first. */
import type { FastifyInstance } from 'fastify';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { addListing, pageUpTo } from './listing.ts';
import { cdrShape } from './shapes.ts';

export function addCdrs(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'cdrs', cdrShape, ({ limit, after }) => {
    // The key of a record is its end and its id: many calls may end in one millisecond.
    const [, before, id] = /^([^/]+)\/(.*)$/s.exec(after ?? '') ?? [];
    const place = before === undefined || id === undefined ? {} : { before, id };
    const records = source.cdrs({ limit, ...place });
    return pageUpTo({ limit }, records, (one) => `${one.endedAt}/${one.id}`);
  });
}
