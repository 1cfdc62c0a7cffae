/** The load balancer: picks the server for the next session. Pure. */
import type { ServerState } from '../domain/server.ts';

export interface Candidate {
  name: string;
  roles: readonly string[];
  state: ServerState;
  /** Sessions the server reported, plus those given to it since. */
  load: number;
  capacity: number;
}

/**
 * The least loaded server of `role` that takes new work, relative to its capacity; of equals
 * the first by name, so every node would choose the same. Null when none has room.
 */
export function chooseServer<Server extends Candidate>(
  role: string,
  servers: readonly Server[],
): Server | null {
  let best: Server | null = null;
  for (const server of servers) {
    const eligible =
      server.state === 'up' && server.roles.includes(role) && server.load < server.capacity;
    if (eligible && (best === null || precedes(server, best))) {
      best = server;
    }
  }
  return best;
}

function precedes(a: Candidate, b: Candidate): boolean {
  // Cross-multiplied, so that equal ratios compare equal.
  const difference = a.load * b.capacity - b.load * a.capacity;
  return difference === 0 ? a.name < b.name : difference < 0;
}
