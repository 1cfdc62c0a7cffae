/** What was said on the network about a call. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { gatherTrace, type TraceSource } from '../trace-nodes.ts';
import { ApiError } from './errors.ts';
import { errorShape, traceQuery, traceShape } from './shapes.ts';

export function addTraces(api: FastifyInstance, source: TraceSource): void {
  api.withTypeProvider<ZodTypeProvider>().get(
    '/api/v1/traces',
    {
      schema: {
        summary: 'The SIP messages of a call, as all Call Managers saw them',
        tags: ['traces'],
        querystring: traceQuery,
        response: { 200: traceShape, default: errorShape },
      },
    },
    async ({ query, headers }) => {
      const ids = typeof query.id === 'string' ? [query.id] : query.id;
      if (query.here === 'true') {
        const { messages, ...rest } = source.here(ids);
        const { server } = source;
        const named = messages.map((message) => ({ ...message, server }));
        return { ...rest, messages: named, servers: [{ name: server, problem: null }] };
      }
      const trace = await gatherTrace(source, ids, headers.authorization ?? '');
      if (trace.messages.length === 0 && trace.servers.every(({ problem }) => problem === null)) {
        const message = `no server has a message of '${ids.join("', '")}'`;
        const fix =
          "see the id with 'raftpbx get calls -o wide'; old calls are forgotten, and sip.trace " +
          'must be on';
        throw new ApiError(404, 'PBX_TRACE_UNKNOWN', message, fix);
      }
      return trace;
    },
  );
}
