/** People with a number and a password. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { CallManagerApi, NewUser } from '../../call-manager/api.ts';
import { orThrow } from './errors.ts';
import { pageUpTo } from './listing.ts';
import { errorShape, newUsersShape, pageOf, pageQuery, userName, userShape } from './shapes.ts';

const query = pageQuery.extend({
  prefix: z.string().min(1).max(64).optional().describe('how the names begin'),
});

export function addUsers(api: FastifyInstance, source: CallManagerApi): void {
  const typed = api.withTypeProvider<ZodTypeProvider>();
  typed.get(
    '/api/v1/users',
    {
      schema: {
        summary: 'List users in the order of their names',
        tags: ['users'],
        querystring: query,
        response: { 200: pageOf(userShape), default: errorShape },
      },
    },
    (request) => {
      const { limit, after, prefix } = request.query;
      const place = after === undefined ? {} : { after };
      const users = source.users({ limit, ...place, ...(prefix === undefined ? {} : { prefix }) });
      return pageUpTo({ limit }, users, (one) => one.name);
    },
  );
  typed.post(
    '/api/v1/users',
    {
      schema: {
        summary: 'Add users, all or none',
        tags: ['users'],
        body: newUsersShape,
        response: { 201: z.object({ added: z.number() }), default: errorShape },
      },
    },
    async (request, reply) => {
      const { added } = orThrow(await source.addUsers(request.body.users as NewUser[]));
      reply.status(201);
      return { added };
    },
  );
  typed.delete(
    '/api/v1/users/:name',
    {
      schema: {
        summary: 'Remove a user',
        tags: ['users'],
        params: z.strictObject({ name: userName }),
        response: { 200: z.object({ removed: z.string() }), default: errorShape },
      },
    },
    async (request) => {
      const { deleted } = orThrow(await source.deleteUser(request.params.name));
      return { removed: deleted };
    },
  );
}
