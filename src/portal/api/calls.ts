/** Calls that are up or ringing. */
import type { FastifyInstance } from 'fastify';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { addListing, pageUpTo } from './listing.ts';
import { callShape } from './shapes.ts';

export function addCalls(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'calls', callShape, (page) =>
    pageUpTo(page, source.calls(page), (one) => one.id),
  );
}
