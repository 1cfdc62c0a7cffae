/** The cluster on one screen. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { errorShape, statusShape } from './shapes.ts';

/** What the server the API runs in knows better than the log. */
export interface Holding {
  /** Name of this server. */
  server: string;
  /** Whether it has the VIP at this moment. */
  holdsVip(): boolean;
}

export function addStatus(api: FastifyInstance, source: CallManagerApi, here: Holding): void {
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
      // A leader without the address is no holder: the log knows only who leads.
      const isBare = status.leader === here.server && !here.holdsVip();
      const vip = isBare ? { ...status.vip, holder: null } : status.vip;
      return { ...status, vip, alerts };
    },
  );
}
