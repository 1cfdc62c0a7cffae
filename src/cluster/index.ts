/**
 * The cluster as a server sees it.
 *
 * # Layout
 * - `store-client.ts`: the store over the network (ioredis)
 * - `lease.ts`: this server's sign of life
 * - `health.ts`: who is up (pure)
 * - `assignment.ts`: who gets the next session (pure)
 * - `servers.ts`: leases and servers, watched on a Call Manager
 */
export { chooseServer } from './assignment.ts';
export { serverViews } from './health.ts';
export { type LeaseOptions, ServerLease } from './lease.ts';
export { listServers, ServerWatch } from './servers.ts';
export { connectStore, parseHost, type StoreClientOptions } from './store-client.ts';
