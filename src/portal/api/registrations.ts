/** Devices that are registered. */
import type { FastifyInstance } from 'fastify';
import { addListing } from './listing.ts';
import { registrationShape } from './shapes.ts';
import type { PortalSource } from './source.ts';

export function addRegistrations(api: FastifyInstance, source: PortalSource): void {
  addListing(api, 'registrations', registrationShape, (page) => source.registrations(page));
}
