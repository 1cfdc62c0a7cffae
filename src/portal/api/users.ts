/** People with a number and a password. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ApiError } from './errors.ts';
import { addListing } from './listing.ts';
import { errorShape, newUsersShape, userName, userShape } from './shapes.ts';
import type { PortalSource } from './source.ts';

/** Names listed in a refusal. */
const takenNamesMax = 10;

export function addUsers(api: FastifyInstance, source: PortalSource): void {
  addListing(api, 'users', userShape, (page) => source.users(page));
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
      const { users } = request.body;
      const names = new Set(users.map((user) => user.name));
      if (names.size < users.length) {
        throw new ApiError(400, 'PBX_API_INVALID', 'a name is given twice', 'give each name once');
      }
      const taken = await source.addUsers(users);
      if (taken.length > 0) {
        const list = taken.slice(0, takenNamesMax).join(', ');
        const message = `${taken.length} of these users exist already: ${list}`;
        throw new ApiError(
          409,
          'PBX_USER_EXISTS',
          message,
          'choose other names; nothing was added',
        );
      }
      reply.status(201);
      return { added: users.length };
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
      const { name } = request.params;
      if (!(await source.deleteUser(name))) {
        const fix = "see 'raftpbx get users' for those there are";
        throw new ApiError(404, 'PBX_USER_UNKNOWN', `there is no user ${name}`, fix);
      }
      return { removed: name };
    },
  );
}
