/** The routes that only list things: one page at a time, by key. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { errorShape, type Page, type PageQuery, pageOf, pageQuery } from './shapes.ts';

/** Adds `GET /api/v1/{noun}`. */
export function addListing<Entry extends z.ZodType>(
  api: FastifyInstance,
  noun: string,
  entry: Entry,
  list: (page: PageQuery) => Page<z.output<Entry>>,
): void {
  api.withTypeProvider<ZodTypeProvider>().get(
    `/api/v1/${noun}`,
    {
      schema: {
        summary: `List ${noun}`,
        tags: [noun],
        querystring: pageQuery,
        response: { 200: pageOf(entry), default: errorShape },
      },
    },
    (request) => list(request.query as PageQuery) as never,
  );
}
