/**
 * What a server's configuration file may say. One schema is the source of the checks, of the
 * defaults and of `docs/reference/config.md`. Secrets are never in the file: it names the files
 * that hold them.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { splitAddress } from './address.ts';
import { storeAccountList } from './store-accounts.ts';

/** Roles a server can carry. */
export const roles = ['call-manager', 'media'] as const;
export type Role = (typeof roles)[number];

const ipAddress = z
  .string()
  .refine((text) => isIP(text) !== 0, { error: 'is not an IP address' })
  .meta({ example: '10.77.0.11' });

const socketAddress = z
  .string()
  .refine(isSocketAddress, { error: 'is not ADDRESS:PORT (IPv6 in brackets)' })
  .meta({ example: '10.77.0.11:2223' });

const sipListener = z
  .string()
  .refine((text) => /^(udp|tcp|tls|ws|wss)\//.test(text) && isSocketAddress(afterSlash(text)), {
    error: 'is not udp/ADDRESS:PORT, or tcp, tls, ws, wss in place of udp',
  })
  .meta({ example: 'udp/10.77.0.100:5060' });

const port = z
  .int({ error: 'is not a port number' })
  .min(1, { error: 'is below 1' })
  .max(65_535, { error: 'is above 65535' });

const file = z
  .string()
  .min(1, { error: 'is empty' })
  .describe('a file, relative to the configuration file');

const serverName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,30}$/, {
    error: 'may have only lower-case letters, digits and hyphens, 31 at most',
  })
  .meta({ example: 'cm-1' });

const portRange = z
  .string()
  .transform((text, context) => {
    const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
    const from = Number(match?.[1]);
    const to = Number(match?.[2]);
    if (match === null || from < 1024 || to > 65_535 || to - from < 3) {
      context.addIssue({
        code: 'custom',
        message: 'is not a range FROM-TO of at least four ports within 1024-65535',
      });
      return z.NEVER;
    }
    return { from, to };
  })
  .meta({ example: '20000-59999' });

const peer = z.strictObject({
  id: z
    .int()
    .min(1)
    .describe('the voter number, never given to another server')
    .meta({ example: 1 }),
  name: serverName.describe('the name of the server'),
  address: ipAddress.describe('where the other servers reach it'),
});

const certificates = z.strictObject({
  authority: file.meta({ example: 'tls/authority.pem' }).describe('certificate of the authority'),
  certificate: file.meta({ example: 'tls/certificate.pem' }).describe('certificate of this server'),
  key: file.meta({ example: 'tls/key.pem' }).describe('private key of this server, mode 600'),
});

const vip = z.strictObject({
  interface: z.string().min(1).meta({ example: 'eth0' }).describe('interface that carries the VIP'),
  addresses: z
    .array(ipAddress)
    .min(1, { error: 'needs at least one address' })
    .max(4, { error: 'has more than four addresses' })
    .describe('the addresses phones know, IPv4 and IPv6'),
});

const cluster = z.strictObject({
  id: z.int().min(1).optional().describe('voter number of this server; Call Managers only'),
  peers: z
    .array(peer)
    .min(1, { error: 'needs at least one Call Manager' })
    .max(9, { error: 'has more than nine Call Managers' })
    .describe('every Call Manager, this one included'),
  join: z
    .boolean()
    .default(false)
    .describe('never found a cluster: wait to be added to the one of the peers'),
  vip: vip.optional().describe('the virtual address; Call Managers only'),
  secretFile: file
    .meta({ example: 'secrets/cluster' })
    .describe('secret all servers share, mode 600'),
  certificates: certificates.describe('mutual TLS between servers'),
});

const store = z.strictObject({
  user: z.string().min(1).default('default').describe('account of the Redis protocol'),
  passwordFile: file.meta({ example: 'secrets/store' }).describe('its password, mode 600'),
  accounts: storeAccountList
    .optional()
    .describe('users of the Redis protocol; without it only `user`, as a node'),
  tls: z
    .boolean()
    .default(false)
    .describe('the Redis protocol speaks TLS with cluster.certificates'),
  clientIdleS: z
    .int()
    .min(0)
    .max(86_400)
    .default(0)
    .describe('silence after which a Redis client is disconnected; 0 never'),
  raftPort: port.default(7001).describe('TCP port of Raft, the same on every Call Manager'),
  respPort: port.default(6379).describe('TCP port of the Redis protocol'),
  heartbeatMs: z.int().min(5).max(5000).default(40).describe('heartbeats of the leader'),
  electionMinMs: z.int().min(20).max(60_000).default(250).describe('shortest election timeout'),
  electionMaxMs: z.int().min(30).max(60_000).default(400).describe('longest election timeout'),
});

const requestHandler = z.strictObject({
  method: z
    .string()
    .regex(/^([A-Z]{1,32}|\*)$/, { error: 'is not a SIP method in capitals, nor *' })
    .default('*')
    .describe('SIP method; `*` for all that have no handler of their own'),
  http: z.enum(['GET', 'POST']).default('GET').describe('how a web server is asked'),
  url: z
    .string()
    .regex(/^(https?|tcp|tls):\/\/[^\s]+$/, { error: 'is not an http, https, tcp or tls URL' })
    .meta({ example: 'http://10.77.0.50:8080/route' })
    .describe('a web server to ask, or with `tcp:` or `tls:` an application to connect to'),
});

const applications = z.strictObject({
  tlsListen: socketAddress
    .optional()
    .meta({ example: '10.77.0.100:9024' })
    .describe('where applications connect over TLS, with the certificate of sip.tls'),
  requestHandlers: z
    .array(requestHandler)
    .max(16, { error: 'has more than 16 request handlers' })
    .default([])
    .describe('who decides about new requests in place of the applications that route them'),
});

const sipUri = z
  .string()
  .regex(/^sips?:[^\s<>",]+$/, { error: 'is not a SIP URI' })
  .meta({ example: 'sip:proxy.example.com;lr' });

const network = z
  .union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], {
    error: 'is not an address or a network',
  })
  .meta({ example: '192.0.2.0/24' });

const push = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'is not an HTTP URL' })
    .meta({ example: 'http://10.77.0.30/wake' })
    .describe('gets a POST with JSON: user, provider, prid, param, from, call'),
  providers: z
    .array(z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, { error: 'is not a pn-provider' }))
    .min(1, { error: 'needs at least one provider' })
    .max(16, { error: 'has more than 16 providers' })
    .meta({ example: '[apns, fcm]' })
    .describe('push services it can reach; a device that names another is answered 555'),
  waitMs: z
    .int()
    .min(500)
    .max(30_000)
    .default(8_000)
    .describe('how long a call waits for devices to wake before it rings the others'),
});

const sipTls = z.strictObject({
  certificate: file
    .meta({ example: 'tls/certificate.pem' })
    .describe('chain for phones, PEM; must name the domain or the VIP; read again when changed'),
  key: file.meta({ example: 'tls/key.pem' }).describe('its private key, mode 600'),
  authority: file
    .optional()
    .meta({ example: 'tls/authority.pem' })
    .describe("whom to trust on connections to others; without it the system's authorities"),
});

const trace = z.strictObject({
  enabled: z.boolean().default(true).describe('keep copies for `raftpbx call trace`'),
  memoryMb: z
    .int()
    .min(1)
    .max(4096)
    .default(32)
    .describe('megabytes of memory for copies; the oldest are forgotten first'),
});

const hep = z.strictObject({
  address: z
    .string()
    .refine(isHostAndPort, { error: 'is not HOST:PORT (IPv6 in brackets)' })
    .meta({ example: 'homer.example.com:9060' })
    .describe('where it listens, UDP'),
  id: z
    .int()
    .min(1)
    .max(0xffff_ffff)
    .default(1)
    .describe('how it tells its sources apart: a number of its own for each server'),
  passwordFile: file
    .optional()
    .meta({ example: 'secrets/hep' })
    .describe('the key it asks for, mode 600; it is sent as it is'),
});

const sip = z.strictObject({
  domain: z
    .string()
    .regex(/^[a-z0-9.-]+$/, { error: 'is not a domain name in lower case' })
    .meta({ example: 'pbx.example.com' })
    .describe('domain and digest realm of the users'),
  listen: z
    .array(sipListener)
    .min(1, { error: 'needs at least one listener' })
    .max(16, { error: 'has more than 16 listeners' })
    .describe('addresses phones send to, normally the VIP; udp, tcp, tls, ws or wss'),
  tls: sipTls.optional().describe('certificate of the listeners tls and wss'),
  nameServers: z
    .array(socketAddress)
    .max(8, { error: 'has more than 8 name servers' })
    .default([])
    .describe('whom to ask for the servers of trunks; none = as the operating system does'),
  connectionsPerAddress: z
    .int()
    .min(1)
    .max(50_000)
    .default(1024)
    .describe('TCP, TLS and WebSocket connections from one address; a NAT is one address'),
  dialogsPerAddress: z
    .int()
    .min(1)
    .max(200_000)
    .default(20_000)
    .describe('calls and subscriptions with one address; a trunk or a NAT is one address'),
  dialogsPerUser: z
    .int()
    .min(1)
    .max(200_000)
    .default(1000)
    .describe('calls and subscriptions one user may have begun, all devices together'),
  drachtioListen: socketAddress
    .default('127.0.0.1:9022')
    .describe('where call control connects to the SIP engine'),
  drachtioSecretFile: file
    .meta({ example: 'secrets/drachtio' })
    .describe('secret of that connection, mode 600'),
  applications: applications.prefault({}).describe('programs beside our own call control'),
  minExpiresS: z.int().min(10).default(60).describe('shortest registration granted'),
  maxExpiresS: z.int().min(60).default(7200).describe('longest registration granted'),
  defaultExpiresS: z.int().min(60).default(3600).describe('when a phone asks for none'),
  maxBindings: z.int().min(1).max(64).default(10).describe('devices a user may register'),
  digest: z
    .enum(['md5', 'sha-256-and-md5'])
    .default('md5')
    .describe('what challenges offer; some phones give up when SHA-256 stands beside MD5'),
  sessionTimerS: z
    .union([z.literal(0), z.int().min(90).max(86_400)])
    .default(1800)
    .describe('a call whose phone is silent this long ends (RFC 4028); 0 offers no timer'),
  trustedPeers: z
    .array(z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()]))
    .max(256, { error: 'has more than 256 networks' })
    .default([])
    .describe('networks whose P-Asserted-Identity is believed and who may see private ones'),
  sessionTimerMinS: z
    .int()
    .min(90)
    .max(86_400)
    .default(90)
    .describe('shorter session timers are refused with 422'),
  whenFull: z
    .enum(['refuse', 'replace-oldest'])
    .default('refuse')
    .describe('what becomes of one device more than maxBindings'),
  serviceRoutes: z
    .array(sipUri)
    .max(8, { error: 'has more than eight URIs' })
    .optional()
    .describe('proxies that phones are told to send their calls through (RFC 3608)'),
  qualifyS: z
    .int()
    .min(0)
    .max(3600)
    .default(0)
    .describe('how often, in seconds, a device is asked with OPTIONS whether it is there; 0 never'),
  flowTimerS: z
    .int()
    .min(0)
    .max(3600)
    .default(0)
    .describe('keep-alive period asked of devices with outbound (RFC 5626); 0 leaves it to them'),
  trusted: z
    .array(network)
    .max(64, { error: 'has more than 64 networks' })
    .optional()
    .describe('sources that are never banned, besides our own servers'),
  push: push.optional().describe('how to wake devices that sleep (RFC 8599)'),
  trace: trace.prefault({}).describe('copies of the newest messages, in memory only'),
  hep: hep.optional().describe('a HEP collector (Homer) that gets a copy of every message'),
});

const media = z.strictObject({
  interfaces: z
    .array(
      z.strictObject({
        local: ipAddress.describe('address RTP is bound to'),
        advertised: ipAddress.optional().describe('address in SDP when it differs (NAT)'),
      }),
    )
    .min(1, { error: 'needs at least one interface' })
    .describe('addresses for RTP'),
  ngListen: socketAddress.describe('UDP listener of the NG protocol'),
  ports: portRange.default({ from: 20_000, to: 59_999 }).describe('UDP ports for RTP'),
  workers: z.int().min(1).max(64).default(1).describe('threads that move packets'),
  timeoutS: z.int().min(5).default(60).describe('silence after which a session is given up'),
});

const api = z.strictObject({
  listen: socketAddress.default('[::]:8443').describe('HTTPS of the portal and the API'),
  certificate: file.meta({ example: 'tls/certificate.pem' }).describe('its certificate, PEM'),
  key: file.meta({ example: 'tls/key.pem' }).describe('its private key, mode 600'),
  adminFile: file
    .meta({ example: 'secrets/admin' })
    .describe('administrator name and scrypt hash, mode 600'),
});

const metrics = z.strictObject({
  listen: socketAddress.default('[::]:9464').describe('HTTP of /metrics and /healthz'),
});

const log = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('least important line that is written'),
});

/** The whole file. */
export const serverSchema = z
  .strictObject({
    name: serverName.describe('name of this server, unique in the cluster'),
    roles: z
      .array(z.enum(roles))
      .min(1, { error: 'needs at least one role' })
      .describe('what this server does'),
    address: ipAddress.describe('where the other servers reach this one'),
    directory: file.meta({ example: 'store' }).describe('where its state is kept'),
    cluster: cluster.describe('the Call Managers and what they share'),
    store: store.describe('the replicated store'),
    sip: sip.optional().describe('SIP; needed by the role call-manager'),
    media: media.optional().describe('RTP; needed by the role media'),
    api: api.optional().describe('portal and API; needed by the role call-manager'),
    metrics: metrics.prefault({}).describe('measurements and health'),
    log: log.prefault({}).describe('the log on standard output, JSON lines'),
  })
  .superRefine((server, context) => {
    const report = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message });
    const leads = server.roles.includes('call-manager');
    for (const section of ['sip', 'api'] as const) {
      if (leads && server[section] === undefined) {
        report(['roles'], `call-manager needs the section '${section}'`);
      }
    }
    if (server.roles.includes('media') && server.media === undefined) {
      report(['roles'], "media needs the section 'media'");
    }
    checkPeers(server, leads, report);
    if (server.sip !== undefined) {
      checkSipTls(server.sip, report);
    }
    if (server.store.electionMaxMs <= server.store.electionMinMs) {
      report(['store', 'electionMaxMs'], 'is not above electionMinMs');
    }
    if (server.store.electionMinMs < 3 * server.store.heartbeatMs) {
      report(['store', 'electionMinMs'], 'is below three heartbeats (heartbeatMs)');
    }
  });

/** A configuration after checks and defaults; file names are as written. */
export type ServerConfig = z.output<typeof serverSchema>;

function checkPeers(
  server: { name: string; address: string; cluster: z.output<typeof cluster> },
  leads: boolean,
  report: (path: (string | number)[], message: string) => void,
): void {
  const { id, peers } = server.cluster;
  for (const field of ['id', 'name', 'address'] as const) {
    const seen = new Set<unknown>();
    peers.forEach((one, i) => {
      if (seen.has(one[field])) {
        report(['cluster', 'peers', i, field], 'is used by two peers');
      }
      seen.add(one[field]);
    });
  }
  if (!leads) {
    return;
  }
  if (id === undefined) {
    report(['cluster'], "call-manager needs 'id', its number among the peers");
    return;
  }
  if (server.cluster.vip === undefined) {
    report(['cluster'], "call-manager needs 'vip'");
  }
  const self = peers.find((one) => one.id === id);
  if (self === undefined) {
    report(['cluster', 'id'], 'is not the id of any peer');
  } else if (self.name !== server.name || self.address !== server.address) {
    report(
      ['cluster', 'id'],
      `is ${self.name} at ${self.address} among the peers, not this server`,
    );
  }
}

/** Who connects over TLS must be shown something. */
function checkSipTls(
  { listen, tls, applications }: z.output<typeof sip>,
  report: (path: (string | number)[], message: string) => void,
): void {
  if (tls !== undefined) {
    return;
  }
  listen.forEach((listener, i) => {
    if (/^(tls|wss)\//.test(listener)) {
      report(['sip', 'listen', i], "needs a certificate, the section 'tls' of 'sip'");
    }
  });
  if (applications.tlsListen !== undefined) {
    const message = "needs a certificate, the section 'tls' of 'sip'";
    report(['sip', 'applications', 'tlsListen'], message);
  }
  applications.requestHandlers.forEach(({ url }, i) => {
    if (url.startsWith('tls:')) {
      const path = ['sip', 'applications', 'requestHandlers', i, 'url'];
      report(path, "needs authorities, the section 'tls' of 'sip'");
    }
  });
}

function afterSlash(text: string): string {
  return text.slice(text.indexOf('/') + 1);
}

function isHostAndPort(text: string): boolean {
  const address = splitAddress(text);
  return isSocketAddress(text) || (address !== null && /^[A-Za-z0-9.-]+$/.test(address.host));
}

function isSocketAddress(text: string): boolean {
  const address = splitAddress(text);
  return address !== null && isIP(address.host) === (text.startsWith('[') ? 6 : 4);
}
