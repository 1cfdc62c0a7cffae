/** A backup of everything, as a stream of bytes that has its own checks. */
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { ApiError } from './errors.ts';

/** Where backups come from: the store of this server. */
export interface BackupSource {
  backup(): Promise<AsyncGenerator<Buffer>>;
}

export function addBackup(api: FastifyInstance, source: BackupSource): void {
  api.get(
    '/api/v1/backup',
    {
      schema: {
        summary: 'Take a backup of keys and tables as of one log entry',
        tags: ['backup'],
        produces: ['application/octet-stream'],
      },
    },
    async (_request, reply) => {
      const pieces = await begin(source);
      // The end of the stream says whether it is whole: an error can only cut the connection.
      return reply.type('application/octet-stream').send(Readable.from(pieces));
    },
  );
}

async function begin(source: BackupSource): Promise<AsyncGenerator<Buffer>> {
  try {
    return await source.backup();
  } catch (error) {
    const [, code, text] = /^(PBX_BACKUP_[A-Z]+): (.*)$/s.exec((error as Error).message) ?? [];
    if (code === undefined || text === undefined) {
      throw error;
    }
    const [message = text, fix = 'try again in a moment'] = text.split('; ');
    throw new ApiError(409, code, message, fix);
  }
}
