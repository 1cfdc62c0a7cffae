/** Trunks, and the routes over them. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { CallManagerApi, TrunkApi } from '../../call-manager/api.ts';
import type { NewTrunk } from '../../domain/trunk.ts';
import { orThrow } from './errors.ts';
import { addListing, cutPage } from './listing.ts';
import { errorShape } from './shapes.ts';
import {
  inboundQuery,
  inboundShape,
  newTrunkShape,
  outboundShape,
  patternQuery,
  trunkChangeShape,
  trunkName,
  trunkShape,
} from './trunk-shapes.ts';

const added = { 201: z.object({ added: z.string() }), default: errorShape };
const removed = { 200: z.object({ removed: z.string() }), default: errorShape };

export function addTrunks(api: FastifyInstance, { trunks }: CallManagerApi): void {
  addListing(api, 'trunks', trunkShape, (page) => cutPage(trunks.list(), (one) => one.name, page));
  addListing(api, 'outbound-routes', outboundShape, (page) =>
    cutPage(trunks.outboundRoutes(), (one) => one.pattern, page),
  );
  addListing(api, 'inbound-routes', inboundShape, (page) =>
    cutPage(trunks.inboundRoutes(), (one) => `${one.pattern} ${one.trunk}`, page),
  );
  changeTrunks(api, trunks);
  changeRoutes(api, trunks);
}

function changeTrunks(api: FastifyInstance, trunks: TrunkApi): void {
  const typed = api.withTypeProvider<ZodTypeProvider>();
  const tags = ['trunks'];
  typed.post(
    '/api/v1/trunks',
    { schema: { summary: 'Add a trunk', tags, body: newTrunkShape, response: added } },
    async (request, reply) => {
      const done = orThrow(await trunks.add(request.body as NewTrunk));
      reply.status(201);
      return done;
    },
  );
  typed.patch(
    '/api/v1/trunks/:name',
    {
      schema: {
        summary: 'Enable or disable a trunk',
        tags,
        params: trunkName,
        body: trunkChangeShape,
        response: { 200: trunkChangeShape, default: errorShape },
      },
    },
    async ({ params, body }) => orThrow(await trunks.enable(params.name, body.enabled)),
  );
  typed.delete(
    '/api/v1/trunks/:name',
    { schema: { summary: 'Remove a trunk', tags, params: trunkName, response: removed } },
    async ({ params }) => orThrow(await trunks.remove(params.name)),
  );
}

function changeRoutes(api: FastifyInstance, trunks: TrunkApi): void {
  const typed = api.withTypeProvider<ZodTypeProvider>();
  const tags = ['routes'];
  typed.post(
    '/api/v1/outbound-routes',
    {
      schema: {
        summary: 'Send numbers out over trunks; a route with the same pattern is replaced',
        tags,
        body: outboundShape,
        response: added,
      },
    },
    async (request, reply) => {
      const done = orThrow(await trunks.addOutbound(request.body));
      reply.status(201);
      return done;
    },
  );
  typed.post(
    '/api/v1/inbound-routes',
    {
      schema: {
        summary: 'Say who is meant by numbers that trunks call',
        tags,
        body: inboundShape,
        response: added,
      },
    },
    async (request, reply) => {
      const done = orThrow(await trunks.addInbound(request.body));
      reply.status(201);
      return done;
    },
  );
  typed.delete(
    '/api/v1/outbound-routes',
    { schema: { summary: 'Remove one', tags, querystring: patternQuery, response: removed } },
    async ({ query }) => orThrow(await trunks.removeOutbound(query.pattern)),
  );
  typed.delete(
    '/api/v1/inbound-routes',
    { schema: { summary: 'Remove one', tags, querystring: inboundQuery, response: removed } },
    async ({ query }) => orThrow(await trunks.removeInbound(query.pattern, query.trunk ?? '')),
  );
}
