/** From the section `sip` of a configuration to what the engine and call control are given. */
import { readFileSync } from 'node:fs';
import { splitAddress } from './address.ts';
import type { ServerConfig } from './schema.ts';
import { readSecret } from './secrets.ts';

export type SipConfig = NonNullable<ServerConfig['sip']>;

/** Where call control connects; over TLS with the authority (PEM) in the configuration. */
export function engineAddress({ engine, engineAuthority, drachtioListen }: SipConfig) {
  const text = engine === 'embedded' ? drachtioListen : engine.slice(engine.indexOf('//') + 2);
  const isGuarded = engine !== 'embedded' && engineAuthority !== undefined;
  return {
    ...(splitAddress(text) ?? { host: '', port: 0 }),
    authority: isGuarded ? readFileSync(engineAuthority, 'utf8') : null,
  };
}

/** For the engine in the process. */
export function sipOptions(config: ServerConfig, sip: SipConfig, drachtioSecret: string) {
  return {
    listen: sip.listen,
    udpWorkers: sip.udpWorkers,
    nameServers: sip.nameServers,
    connectionsPerAddress: sip.connectionsPerAddress,
    dialogsPerAddress: sip.dialogsPerAddress,
    dialogsPerUser: sip.dialogsPerUser,
    tls: sip.tls === undefined ? null : { ...sip.tls, authority: sip.tls.authority ?? null },
    drachtio: {
      listen: sip.drachtioListen,
      secure: sip.applications.tlsListen ?? null,
      tls: sip.applications.tls ?? null,
      secret: drachtioSecret,
    },
    requestHandlers: sip.applications.requestHandlers.map(({ method, http, url }) => ({
      sipMethod: method,
      httpMethod: http,
      url,
    })),
    registrar: {
      ...registrarRules(sip),
      domains: [sip.domain, ...(config.cluster.vip?.addresses ?? [])],
      realm: sip.domain,
      pushProviders: sip.push?.providers ?? [],
      qualifyS: sip.qualifyS,
      flowTimerS: sip.flowTimerS,
      trusted: neverBanned(config, sip),
    },
    authenticateCalls: true,
    trusted: sip.trustedPeers,
    sessionTimer: { expiresS: sip.sessionTimerS, minSeS: sip.sessionTimerMinS },
    topologyHiding: sip.topologyHiding,
    traceBytes: sip.trace.enabled ? sip.trace.memoryMb * 1024 * 1024 : 0,
    hep: sip.hep === undefined ? null : collectorOf(sip.hep),
    secret: readSecret(config.cluster.secretFile),
  };
}

function collectorOf({ address, id, passwordFile }: NonNullable<SipConfig['hep']>) {
  const password = passwordFile === undefined ? null : readSecret(passwordFile);
  return { address, id, password };
}

/** The rules of the registrar, whoever keeps them. */
function registrarRules(sip: SipConfig) {
  const { minExpiresS, maxExpiresS, defaultExpiresS, maxBindings, digest, whenFull } = sip;
  const expiries = { minExpiresS, maxExpiresS, defaultExpiresS };
  return { ...expiries, maxBindings, digest, whenFull, serviceRoutes: sip.serviceRoutes ?? [] };
}

/** Call control's registrar, for an engine elsewhere. */
export function registrarElsewhere(config: ServerConfig, sip: SipConfig) {
  return { ...registrarRules(sip), neverBanned: neverBanned(config, sip) };
}

/** Our own servers, and whom the configuration names. */
function neverBanned(config: ServerConfig, sip: SipConfig): string[] {
  return [...config.cluster.peers.map((peer) => peer.address), ...(sip.neverBanned ?? [])];
}
