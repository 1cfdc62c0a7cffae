/** The cluster on one screen. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { errorShape, statusShape } from './shapes.ts';
import type { PortalSource } from './source.ts';

export function addStatus(api: FastifyInstance, source: PortalSource): void {
  api.withTypeProvider<ZodTypeProvider>().get(
    '/api/v1/status',
    {
      schema: {
        summary: 'The cluster on one screen',
        tags: ['status'],
        response: { 200: statusShape, default: errorShape },
      },
    },
    () => source.status(),
  );
}
