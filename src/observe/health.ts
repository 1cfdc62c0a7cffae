/**
 * Whether this server does its work: the sum of checks its roles have registered. Starting and
 * stopping count as not working, so that nothing is sent here too early or too late.
 */

/** Returns null when well, otherwise what is wrong, for a person. */
export type HealthCheck = () => string | null;

/** The answer of `/healthz`. */
export interface HealthReport {
  status: 'ok' | 'failing';
  server: string;
  roles: string[];
  /** Name of the check -> what is wrong. */
  failing: Record<string, string>;
}

/** Collects the checks of a process. */
export class Health {
  readonly #server: string;
  readonly #roles: readonly string[];
  readonly #checks = new Map<string, HealthCheck>();
  #phase: 'starting' | 'started' | 'stopping' = 'starting';

  constructor(server: string, roles: readonly string[]) {
    this.#server = server;
    this.#roles = roles;
  }

  /** Adds or replaces a check. */
  check(name: string, check: HealthCheck): void {
    this.#checks.set(name, check);
  }

  /** All roles have been started. */
  started(): void {
    this.#phase = 'started';
  }

  /** The server is leaving. */
  stopping(): void {
    this.#phase = 'stopping';
  }

  report(): HealthReport {
    const failing: Record<string, string> = {};
    if (this.#phase !== 'started') {
      failing.server = this.#phase;
    }
    for (const [name, check] of this.#checks) {
      const wrong = outcome(check);
      if (wrong !== null) {
        failing[name] = wrong;
      }
    }
    const status = Object.keys(failing).length === 0 ? 'ok' : 'failing';
    return { status, server: this.#server, roles: [...this.#roles], failing };
  }
}

function outcome(check: HealthCheck): string | null {
  try {
    return check();
  } catch (error) {
    return (error as Error).message;
  }
}
