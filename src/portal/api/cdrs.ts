/** Records of calls that have ended. */
import type { FastifyInstance } from 'fastify';
import { addListing } from './listing.ts';
import { cdrShape } from './shapes.ts';
import type { PortalSource } from './source.ts';

export function addCdrs(api: FastifyInstance, source: PortalSource): void {
  addListing(api, 'cdrs', cdrShape, (page) => source.cdrs(page));
}
