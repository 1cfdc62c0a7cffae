/** The servers of the cluster, those that are down included. */
import type { FastifyInstance } from 'fastify';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { addListing, cutPage } from './listing.ts';
import { serverShape } from './shapes.ts';

export function addServers(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'servers', serverShape, (page) =>
    cutPage(source.servers(), (one) => one.name, page),
  );
}
