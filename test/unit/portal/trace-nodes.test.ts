import { expect, it } from 'vitest';
import type { CallTrace } from '../../../src/native/index.ts';
import { gatherTrace, type TraceSource } from '../../../src/portal/trace-nodes.ts';

/** What a node knows: which legs it can put together, and when it saw a message of each. */
interface Knowledge {
  legs: Record<string, string[]>;
  seen: Record<string, number[]>;
}

function traceOf({ legs, seen }: Knowledge, ids: readonly string[]): CallTrace {
  const callIds = [...new Set(ids.flatMap((id) => legs[id] ?? (seen[id] ? [id] : [])))];
  const messages = callIds.flatMap((id) =>
    (seen[id] ?? []).map((atUs) => ({
      atUs,
      sent: true,
      transport: 'udp' as const,
      local: 'x:1',
      remote: 'y:1',
      length: 1,
      encoding: 'utf8' as const,
      text: id,
    })),
  );
  return { callIds, messages, skipped: 1 };
}

function sourceOf(nodes: Record<string, Knowledge | Error>): TraceSource {
  const here = nodes['cm-1'] as Knowledge;
  return {
    server: 'cm-1',
    here: (ids) => traceOf(here, ids),
    others: () =>
      Object.keys(nodes)
        .filter((name) => name !== 'cm-1')
        .map((name) => ({ name, api: `${name}:8443` })),
    ask: async ({ name }, ids, authorization) => {
      const node = nodes[name];
      if (node instanceof Error || node === undefined || authorization !== 'Basic abc') {
        throw node;
      }
      return traceOf(node, ids);
    },
  };
}

const nothing: Knowledge = { legs: {}, seen: {} };

it('messages of all servers are put in the order of time', async () => {
  const legs = { call: ['a', 'b'] };
  const source = sourceOf({
    'cm-1': { legs, seen: { a: [10, 40] } },
    'cm-2': { legs, seen: { a: [20], b: [30] } },
    'cm-3': nothing,
  });
  const trace = await gatherTrace(source, ['call'], 'Basic abc');
  expect(trace.messages.map(({ atUs, server, text }) => [atUs, server, text])).toEqual([
    [10, 'cm-1', 'a'],
    [20, 'cm-2', 'a'],
    [30, 'cm-2', 'b'],
    [40, 'cm-1', 'a'],
  ]);
  expect(trace.servers.map(({ name }) => name)).toEqual(['cm-1', 'cm-2', 'cm-3']);
  expect(trace.skipped).toBe(3);
});

it('a server that does not know what belongs together is told by one that does', async () => {
  const source = sourceOf({
    'cm-1': { legs: {}, seen: { b: [2] } },
    'cm-2': { legs: { call: ['a', 'b'] }, seen: { a: [1] } },
    'cm-3': { legs: {}, seen: { b: [3] } },
  });
  const trace = await gatherTrace(source, ['call'], 'Basic abc');
  expect(trace.callIds).toEqual(['a', 'b']);
  expect(trace.messages.map(({ server }) => server)).toEqual(['cm-2', 'cm-1', 'cm-3']);
});

it('a server that does not answer is named with the reason, the others are shown', async () => {
  const source = sourceOf({
    'cm-1': { legs: { call: ['a'] }, seen: { a: [1] } },
    'cm-2': new Error('connect ECONNREFUSED'),
  });
  const trace = await gatherTrace(source, ['call'], 'Basic abc');
  expect(trace.messages).toHaveLength(1);
  expect(trace.servers).toEqual([
    { name: 'cm-1', problem: null },
    { name: 'cm-2', problem: 'connect ECONNREFUSED' },
  ]);
});
