/**
 * The trace of a call from all Call Managers: each keeps what it heard and said itself, so after
 * a takeover a call is in the memory of two. The one that is asked asks the others, with the
 * credentials it was asked with, and says who did not answer.
 */
import { type RequestOptions, request } from 'node:https';
import { rootCertificates } from 'node:tls';
import { joinAddress, splitAddress } from '../config/address.ts';
import { limits } from '../domain/limits.ts';
import type { CallTrace, Store, TracedMessage } from '../native/index.ts';

/** Another Call Manager. */
export interface TraceNode {
  name: string;
  /** `host:port` of its API. */
  api: string;
}

/** A message and the server that has it. */
export type NodeMessage = TracedMessage & { server: string };

/** What all of them know. */
export interface ClusterTrace {
  callIds: string[];
  messages: NodeMessage[];
  skipped: number;
  servers: { name: string; problem: string | null }[];
}

export interface TraceSource {
  /** Name of this server. */
  server: string;
  here(ids: readonly string[]): CallTrace;
  others(): TraceNode[];
  /** Rejects when there is no answer in time. */
  ask(node: TraceNode, ids: readonly string[], authorization: string): Promise<CallTrace>;
}

/** Every member of the store but this one; their APIs listen on the port of ours. */
export function otherNodes(store: Store, here: string, listen: string): TraceNode[] {
  const port = splitAddress(listen)?.port ?? 0;
  return store
    .members()
    .filter((member) => member.name !== here)
    .map(({ name, raft }) => ({
      name,
      api: joinAddress(splitAddress(raft)?.host ?? '', port),
    }));
}

/**
 * Asks everybody, and those again that do not know all legs: only who took part in setting up a
 * call knows what belongs to it.
 */
export async function gatherTrace(
  source: TraceSource,
  ids: readonly string[],
  authorization: string,
): Promise<ClusterTrace> {
  const nodes = source.others();
  const askAll = (wanted: readonly string[], of: readonly TraceNode[]) =>
    Promise.all(of.map((node) => answerOf(source, node, wanted, authorization)));
  const first = await askAll(ids, nodes);
  const parts = new Map<string, CallTrace | string>([[source.server, source.here(ids)], ...first]);
  const callIds = legsOf(parts).slice(0, limits.tracedIdsMax);
  const isBehind = (name: string) => {
    const part = parts.get(name);
    return typeof part === 'object' && callIds.some((id) => !part.callIds.includes(id));
  };
  if (isBehind(source.server)) {
    parts.set(source.server, source.here(callIds));
  }
  const behind = nodes.filter(({ name }) => isBehind(name));
  for (const [name, part] of await askAll(callIds, behind)) {
    parts.set(name, part);
  }
  return merge(callIds, parts);
}

/** A node's name with its part, or with why there is none. */
async function answerOf(
  source: TraceSource,
  node: TraceNode,
  ids: readonly string[],
  authorization: string,
): Promise<[string, CallTrace | string]> {
  try {
    return [node.name, await source.ask(node, ids, authorization)];
  } catch (error) {
    return [node.name, (error as Error).message];
  }
}

function legsOf(parts: ReadonlyMap<string, CallTrace | string>): string[] {
  const all = [...parts.values()].flatMap((part) => (typeof part === 'object' ? part.callIds : []));
  return [...new Set(all)];
}

function merge(callIds: string[], parts: ReadonlyMap<string, CallTrace | string>): ClusterTrace {
  const merged: ClusterTrace = { callIds, messages: [], skipped: 0, servers: [] };
  for (const [name, part] of parts) {
    if (typeof part === 'string') {
      merged.servers.push({ name, problem: part });
      continue;
    }
    merged.servers.push({ name, problem: null });
    merged.skipped += part.skipped;
    merged.messages.push(...part.messages.map((message) => ({ ...message, server: name })));
  }
  merged.messages.sort((a, b) => a.atUs - b.atUs);
  merged.servers.sort((a, b) => (a.name < b.name ? -1 : 1));
  return merged;
}

/** What one node has, from its API. */
export function askForTrace(
  node: TraceNode,
  ids: readonly string[],
  trust: { authorization: string; authority: string },
): Promise<CallTrace> {
  const query = new URLSearchParams(ids.map((id): [string, string] => ['id', id]));
  query.set('here', 'true');
  const options: RequestOptions = {
    ca: [trust.authority, ...rootCertificates],
    agent: false,
    headers: { authorization: trust.authorization },
    signal: AbortSignal.timeout(limits.traceAnswerMs),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(`https://${node.api}/api/v1/traces?${query}`, options, (incoming) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (part: Buffer) => {
        bytes += part.length;
        parts.push(part);
        if (bytes > limits.traceBytesMax) {
          outgoing.destroy(new Error('its answer is too long'));
        }
      });
      incoming.on('error', reject);
      incoming.on('end', () => {
        if (incoming.statusCode !== 200) {
          reject(new Error(`it answered ${incoming.statusCode}`));
          return;
        }
        try {
          resolve(JSON.parse(Buffer.concat(parts).toString()) as CallTrace);
        } catch (error) {
          reject(error);
        }
      });
    });
    outgoing.on('error', (error) =>
      reject(error.name === 'AbortError' ? new Error('it did not answer in time') : error),
    );
    outgoing.end();
  });
}
