/**
 * The HTTPS API of a Call Manager.
 *
 * # Layout
 * - `shapes.ts`: what is said and taken, as schemas
 * - `authentication.ts`, `errors.ts`: who may ask, how it refuses
 * - `certificate.ts`: a certificate that is renewed while the API serves
 * - one file a noun: `status`, `members`, `servers`, `calls`, `registrations`, `users`, `cdrs`,
 *   `trunks`, `backup`, `traces`
 */
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
} from 'fastify-type-provider-zod';
import type { CallManagerApi } from '../../call-manager/api.ts';
import { splitAddress } from '../../config/address.ts';
import type { Health } from '../../observe/health.ts';
import type { Logger } from '../../observe/log.ts';
import type { TraceSource } from '../trace-nodes.ts';
import { Authenticator, parseAdministrator } from './authentication.ts';
import { addBackup, type BackupSource } from './backup.ts';
import { addBans } from './bans.ts';
import { addCalls } from './calls.ts';
import { addCdrs } from './cdrs.ts';
import { Certificate, readPair } from './certificate.ts';
import { ApiError, toApiError } from './errors.ts';
import { addMembers, type MemberSource } from './members.ts';
import { addRegistrations } from './registrations.ts';
import { addServers } from './servers.ts';
import { addStatus, type Holding } from './status.ts';
import { addTraces } from './traces.ts';
import { addTrunks } from './trunks.ts';
import { addUsers } from './users.ts';

/** Bytes a request body may have: the users one request may add fit. */
const bodyBytesMax = 16 * 1024 * 1024;

export interface ApiOptions {
  /** `ADDRESS:PORT`. */
  listen: string;
  /** Files in PEM; null serves plain HTTP, for tests only. */
  tls: { certificate: string; key: string } | null;
  /** The line of the administrator file. */
  administrator: string;
  source: CallManagerApi;
  members: MemberSource;
  here: Holding;
  /** Where backups come from. */
  backups: BackupSource;
  /** Where traces of calls come from. */
  traces: TraceSource;
  health: Health;
  log: Logger;
}

/** A running API. */
export interface ApiServer {
  /** For tests: answers requests without a socket. */
  inject: FastifyInstance['inject'];
  /** Takes the line of the administrator file, and the certificate files when they changed. */
  reload(administrator: string): void;
  close(): Promise<void>;
}

/** Builds the API and, given an address, listens. */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const api = build(options);
  await addOpenApi(api);
  let authenticator = new Authenticator(parseAdministrator(options.administrator));
  api.addHook('onRequest', (request, reply) => authenticate(authenticator, request, reply));
  api.get('/healthz', { config: { open: true }, schema: { hide: true } }, (_request, reply) => {
    const report = options.health.report();
    reply.status(report.status === 'ok' ? 200 : 503).send(report);
  });
  addStatus(api, options.source, options.here);
  addBackup(api, options.backups);
  addMembers(api, options.members);
  addTraces(api, options.traces);
  const nouns = [addServers, addCalls, addRegistrations, addBans, addUsers, addCdrs, addTrunks];
  for (const add of nouns) {
    add(api, options.source);
  }
  await api.ready();
  const address = splitAddress(options.listen);
  if (address !== null) {
    await api.listen({ host: address.host, port: address.port });
  }
  const certificate = options.tls === null ? null : new Certificate(api.server, options.tls);
  certificate?.follow(options.log);
  return {
    inject: api.inject.bind(api) as FastifyInstance['inject'],
    reload: (administrator) => {
      authenticator = new Authenticator(parseAdministrator(administrator));
      certificate?.reload();
    },
    close: () => {
      certificate?.close();
      return api.close();
    },
  };
}

function build(options: ApiOptions): FastifyInstance {
  const shared = {
    bodyLimit: bodyBytesMax,
    requestTimeout: 30_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
  };
  const api = (
    options.tls === null
      ? fastify(shared)
      : fastify({
          ...shared,
          https: {
            ...readPair(options.tls),
            minVersion: 'TLSv1.2',
          },
        })
  ) as FastifyInstance;
  api.setValidatorCompiler(validatorCompiler);
  api.setSerializerCompiler(serializerCompiler);
  api.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url}`;
    reply.status(404).send({ code: 'PBX_API_UNKNOWN', message, fix: 'see /api/v1/openapi.json' });
  });
  api.setErrorHandler((error, request, reply) => {
    const refusal = toApiError(error);
    if (refusal.status >= 500) {
      options.log.error({ err: error, method: request.method, url: request.url }, 'api failed');
    }
    reply.status(refusal.status).send(refusal.view);
  });
  return api;
}

async function addOpenApi(api: FastifyInstance): Promise<void> {
  await api.register(swagger, {
    openapi: {
      info: { title: 'raftpbx', version: '1' },
      components: { securitySchemes: { administrator: { type: 'http', scheme: 'basic' } } },
      security: [{ administrator: [] }],
    },
    transform: jsonSchemaTransform,
  });
  api.get('/api/v1/openapi.json', { config: { open: true }, schema: { hide: true } }, () =>
    api.swagger(),
  );
}

async function authenticate(
  authenticator: Authenticator,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  if ((request.routeOptions.config as { open?: boolean }).open === true) {
    return;
  }
  const verdict = await authenticator.check(request.headers.authorization, request.ip);
  if (verdict.allowed) {
    return;
  }
  if (verdict.retryAfterS !== null) {
    reply.header('retry-after', verdict.retryAfterS);
    const message = 'too many wrong passwords from this address';
    const fix = `wait ${verdict.retryAfterS} seconds`;
    throw new ApiError(429, 'PBX_API_LOCKED', message, fix);
  }
  reply.header('www-authenticate', 'Basic realm="raftpbx", charset="UTF-8"');
  const message = 'the administrator name or password is missing or wrong';
  throw new ApiError(401, 'PBX_API_UNAUTHORIZED', message, 'send HTTP basic authentication');
}
