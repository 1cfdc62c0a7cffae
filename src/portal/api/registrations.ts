/** Devices that are registered. */
import type { FastifyInstance } from 'fastify';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { addListing, pageUpTo } from './listing.ts';
import { registrationShape } from './shapes.ts';

export function addRegistrations(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'registrations', registrationShape, (page) =>
    pageUpTo(page, source.registrations(page), (one) => one.user),
  );
}
