/** The cluster on one screen. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { errorShape, statusShape } from './shapes.ts';

export function addStatus(api: FastifyInstance, source: CallManagerApi): void {
  api.withTypeProvider<ZodTypeProvider>().get(
    '/api/v1/status',
    {
      schema: {
        summary: 'The cluster on one screen',
        tags: ['status'],
        response: { 200: statusShape, default: errorShape },
      },
    },
    () => {
      const status = source.status();
      const alerts = status.servers.filter((server) => server.state !== 'up').length;
      return { ...status, alerts };
    },
  );
}
