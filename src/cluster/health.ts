/** Which servers are up: a pure fold over leases, settings and the age of the leadership. */
import type { KnownServer, Lease, ServerState, ServerView } from '../domain/server.ts';

export interface HealthInput {
  known: readonly KnownServer[];
  /** Leases that have not expired. */
  leases: ReadonlyMap<string, Lease>;
  /** What an administrator set; absent means enabled. */
  settings: ReadonlyMap<string, 'draining' | 'disabled'>;
  /** When the present leader took over, null while there is none. */
  leaderSince: number | null;
  now: number;
  /** Time servers get to renew with a new leader before they count as down. */
  graceMs: number;
}

/**
 * Servers in the order of their names. Leases could not be renewed while there was no leader,
 * so an expired one says nothing until the grace of the new leader is over.
 */
export function serverViews(input: HealthInput): ServerView[] {
  const servers = new Map<string, KnownServer>();
  for (const server of [...input.known, ...input.leases.values()]) {
    servers.set(server.name, server);
  }
  return [...servers.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((server) => {
      const lease = input.leases.get(server.name);
      return {
        name: server.name,
        roles: server.roles,
        address: server.address,
        state: stateOf(server.name, lease !== undefined, input),
        load: lease?.load ?? 0,
        capacity: lease?.capacity ?? 0,
        alarms: lease?.alarms ?? [],
      };
    });
}

function stateOf(name: string, alive: boolean, input: HealthInput): ServerState {
  const inGrace = input.leaderSince === null || input.now - input.leaderSince < input.graceMs;
  if (!alive && !inGrace) {
    return 'down';
  }
  return input.settings.get(name) ?? 'up';
}
