/** Waits until a lab really works: asks every server, then the VIP, until a deadline. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { joinAddress } from '../config/address.ts';
import type { HealthReport } from '../observe/health.ts';
import type { Page, StatusEntry, UserEntry } from '../portal/api/shapes.ts';
import { LabError, tailOf } from './failure.ts';
import type { Insider } from './insider.ts';
import { type LabPlan, type LabServer, labFiles, labPorts } from './plan.ts';
import { isServer } from './processes.ts';
import { type Credentials, readCredentials } from './records.ts';

/** A server recovers its log and meets its peers well before that. */
const serverDeadlineMs = 30_000;
/** From all servers up to a VIP that answers. */
const vipDeadlineMs = 15_000;
/** Pause between two questions. */
const askPeriodMs = 50;

/** What `/healthz` of a server says; null when nobody answers. */
export async function healthOf(insider: Insider, server: LabServer): Promise<HealthReport | null> {
  const url = `http://${joinAddress(server.address, labPorts.metrics)}/healthz`;
  const answer = await insider.ask({ url });
  return answer.error === null ? (JSON.parse(answer.body) as HealthReport) : null;
}

/** Resolves when all these servers report that they work. Throws `LabError` with the log. */
export async function waitForServers(
  insider: Insider,
  servers: readonly { server: LabServer; pid: number }[],
): Promise<void> {
  const deadline = performance.now() + serverDeadlineMs;
  await Promise.all(
    servers.map(({ server, pid }) => waitForServer(insider, server, pid, deadline)),
  );
}

async function waitForServer(
  insider: Insider,
  server: LabServer,
  pid: number,
  deadline: number,
): Promise<void> {
  let report: HealthReport | null = null;
  while (performance.now() < deadline) {
    report = await healthOf(insider, server);
    if (report?.status === 'ok') {
      return;
    }
    if (!isServer(pid, server.directory)) {
      throw notReady(server, 'ended');
    }
    await delay(askPeriodMs);
  }
  const wrong = Object.entries(report?.failing ?? { server: 'nobody answers /healthz' });
  throw notReady(server, wrong.map(([check, text]) => `${check}: ${text}`).join('; '));
}

function notReady(server: LabServer, what: string): LabError {
  return new LabError(
    'PBX_LAB_SERVER',
    `${server.name} did not start: ${what}\n  the end of its log:\n${tailOf(server.directory)}`,
    "read the lines above; then 'make cluster-up' again, or 'make cluster-down'",
  );
}

/** The API behind the VIP, asked from the phones' namespace. */
export class LabApi {
  readonly #insider: Insider;
  readonly #plan: LabPlan;
  readonly #credentials: Credentials;
  readonly #authority: string;

  constructor(insider: Insider, plan: LabPlan) {
    const files = labFiles(plan.directory);
    this.#insider = insider;
    this.#plan = plan;
    this.#credentials = readCredentials(files.credentials);
    this.#authority = readFileSync(files.authority, 'utf8');
  }

  /** Asks at the VIP, or at `address`; null when nobody answers or the answer is a refusal. */
  async ask<Answer>(
    path: string,
    body: unknown = null,
    address = this.#plan.vip[0] ?? '',
  ): Promise<Answer | null> {
    const { user, password } = this.#credentials.admin;
    const answer = await this.#insider.ask({
      url: `https://${joinAddress(address, labPorts.api)}${path}`,
      method: body === null ? 'GET' : 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
        ...(body === null ? {} : { 'content-type': 'application/json' }),
      },
      body: body === null ? null : JSON.stringify(body),
      authority: this.#authority,
      timeoutMs: 2000,
    });
    return answer.status >= 200 && answer.status < 300 ? (JSON.parse(answer.body) as Answer) : null;
  }

  status(): Promise<StatusEntry | null> {
    return this.ask<StatusEntry>('/api/v1/status');
  }

  /** Resolves when the VIP answers and every server counts as up. */
  async waitForVip(): Promise<StatusEntry> {
    const status = await this.#until(async () => {
      const seen = await this.status();
      const well =
        seen?.leader != null &&
        seen.vip.holder !== null &&
        seen.servers.length >= this.#plan.servers.length &&
        seen.servers.every((server) => server.state === 'up');
      return well ? seen : null;
    });
    if (status === null) {
      const fix = "see '.lab/cm-1/log.jsonl' and its neighbours; then 'make cluster-down'";
      throw new LabError('PBX_LAB_VIP', `the VIP ${this.#plan.vip[0]} does not answer`, fix);
    }
    return status;
  }

  /** Adds the lab's users that are not there; returns how many. */
  async addMissingUsers(): Promise<number> {
    const added = await this.#until(async () => {
      const users: Credentials['users'] = [];
      for (const user of this.#credentials.users) {
        // One by one: a person may have added more users than a page holds.
        const page = await this.ask<Page<UserEntry>>(`/api/v1/users?limit=1&prefix=${user.name}`);
        if (page === null) {
          return null;
        }
        if (page.items[0]?.name !== user.name) {
          users.push(user);
        }
      }
      if (users.length === 0) {
        return 0;
      }
      const answer = await this.ask<{ added: number }>('/api/v1/users', { users });
      return answer?.added ?? null;
    });
    if (added === null) {
      const fix = "see the log of the leader, which 'raftpbx lab status' names";
      throw new LabError('PBX_LAB_USERS', 'the users could not be added', fix);
    }
    return added;
  }

  async #until<Value>(look: () => Promise<Value | null>): Promise<Value | null> {
    const deadline = performance.now() + vipDeadlineMs;
    for (;;) {
      const value = await look();
      if (value !== null || performance.now() >= deadline) {
        return value;
      }
      await delay(askPeriodMs);
    }
  }
}
