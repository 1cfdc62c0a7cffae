/** Calls that are up or ringing. */
import type { FastifyInstance } from 'fastify';
import { addListing } from './listing.ts';
import { callShape } from './shapes.ts';
import type { PortalSource } from './source.ts';

export function addCalls(api: FastifyInstance, source: PortalSource): void {
  addListing(api, 'calls', callShape, (page) => source.calls(page));
}
