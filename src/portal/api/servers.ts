/** The servers of the cluster, those that are down included. */
import type { FastifyInstance } from 'fastify';
import { addListing } from './listing.ts';
import { serverShape } from './shapes.ts';
import type { PortalSource } from './source.ts';

export function addServers(api: FastifyInstance, source: PortalSource): void {
  addListing(api, 'servers', serverShape, ({ limit, after }) => {
    const all = source.servers().sort((a, b) => (a.name < b.name ? -1 : 1));
    const rest = all.filter((one) => after === undefined || one.name > after);
    const items = rest.slice(0, limit);
    return { items, next: rest.length > limit ? (items.at(-1)?.name ?? null) : null };
  });
}
