/** People with a number and a password. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { CallManagerApi, NewUser } from '../../call-manager/api.ts';
import { orThrow } from './errors.ts';
import { addListing, pageUpTo } from './listing.ts';
import { errorShape, newUsersShape, userName, userShape } from './shapes.ts';

export function addUsers(api: FastifyInstance, source: CallManagerApi): void {
  addListing(api, 'users', userShape, (page) =>
    pageUpTo(page, source.users(page), (one) => one.name),
  );
  const typed = api.withTypeProvider<ZodTypeProvider>();
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
