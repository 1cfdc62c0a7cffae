/** Records of calls that have ended, the newest first. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { ApiError } from './errors.ts';
import { pageUpTo } from './listing.ts';
import { cdrShape, errorShape, pageOf, pageQuery, userName } from './shapes.ts';

const query = pageQuery.extend({ user: userName.optional().describe('who called or was called') });

export function addCdrs(api: FastifyInstance, source: CallManagerApi): void {
  const typed = api.withTypeProvider<ZodTypeProvider>();
  typed.get(
    '/api/v1/cdrs',
    {
      schema: {
        summary: 'List cdrs, the newest first',
        tags: ['cdrs'],
        querystring: query,
        response: { 200: pageOf(cdrShape), default: errorShape },
      },
    },
    (request) => {
      const { limit, after, user } = request.query;
      // The key of a record is its end and its id: many calls may end in one millisecond.
      const [, before, id] = /^([^/]+)\/(.*)$/s.exec(after ?? '') ?? [];
      const place = before === undefined || id === undefined ? {} : { before, id };
      const whose = user === undefined ? {} : { user };
      const records = source.cdrs({ limit, ...place, ...whose });
      return pageUpTo({ limit }, records, (one) => `${one.endedAt}/${one.id}`);
    },
  );
  typed.get(
    '/api/v1/cdrs/:id',
    {
      schema: {
        summary: 'The record of one call',
        tags: ['cdrs'],
        params: z.strictObject({ id: z.string().min(1).max(128) }),
        response: { 200: cdrShape, default: errorShape },
      },
    },
    (request) => {
      const found = source.cdr(request.params.id);
      if (found === null) {
        const fix = 'see the ids with GET /api/v1/cdrs; a call has a record when it has ended';
        throw new ApiError(404, 'PBX_CDR_UNKNOWN', 'there is no record of this call', fix);
      }
      return found;
    },
  );
}
