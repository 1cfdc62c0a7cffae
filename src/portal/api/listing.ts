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

/** A page that its source has cut already: it is the last one when it is short. */
export function pageUpTo<Entry>(
  { limit }: { limit: number },
  items: Entry[],
  keyOf: (entry: Entry) => string,
): Page<Entry> {
  const last = items.at(-1);
  return { items, next: items.length < limit || last === undefined ? null : keyOf(last) };
}

/** Cuts a page out of entries; their keys decide the order. */
export function cutPage<Entry>(
  entries: readonly Entry[],
  keyOf: (entry: Entry) => string,
  { limit, after }: PageQuery,
): Page<Entry> {
  const rest = entries
    .map((entry) => ({ entry, key: keyOf(entry) }))
    .filter(({ key }) => after === undefined || key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = rest.slice(0, limit);
  return {
    items: page.map(({ entry }) => entry),
    next: rest.length > limit ? (page.at(-1)?.key ?? null) : null,
  };
}
