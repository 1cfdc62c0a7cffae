/** The section `sip` of a server's configuration file. */
import { z } from 'zod';
import { file, isHostAndPort, isSocketAddress, socketAddress } from './fields.ts';

const sipListener = z
  .string()
  .refine((text) => /^(udp|tcp|tls|ws|wss)\//.test(text) && isSocketAddress(afterSlash(text)), {
    error: 'is not udp/ADDRESS:PORT, or tcp, tls, ws, wss in place of udp',
  })
  .meta({ example: 'udp/10.77.0.100:5060' });

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

const keyPair = z.strictObject({
  certificate: file
    .meta({ example: 'tls/certificate.pem' })
    .describe('chain, PEM; must name what peers connect to; read again when changed'),
  key: file.meta({ example: 'tls/key.pem' }).describe('its private key, mode 600'),
});

const sipTls = keyPair.extend({
  authority: file
    .optional()
    .meta({ example: 'tls/authority.pem' })
    .describe("whom to trust on connections to others; without it the system's authorities"),
});

const applications = z.strictObject({
  tlsListen: socketAddress
    .optional()
    .meta({ example: '10.77.0.100:9024' })
    .describe('where applications connect over TLS'),
  tls: keyPair.optional().describe('the certificate shown there; without it the one of sip.tls'),
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

const codecName = z
  .string()
  .regex(/^[A-Za-z][\w.-]{0,31}(\/\d{4,6})?$/, {
    error: 'is not the name of a codec, with its clock where there are several (L16/16000)',
  })
  .meta({ example: 'opus' });

const topologyHiding = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe('calls that are forwarded show neither side the addresses of the other'),
  callIds: z
    .boolean()
    .default(false)
    .describe('replace Call-IDs, too; a transfer with Replaces then needs our call control'),
});

/** The section `sip`. */
export const sip = z.strictObject({
  domain: z
    .string()
    .regex(/^[a-z0-9.-]+$/, { error: 'is not a domain name in lower case' })
    .meta({ example: 'pbx.example.com' })
    .describe('domain and digest realm of the users'),
  engine: z
    .string()
    .refine(isEngine, { error: 'is not embedded or drachtio://HOST:PORT (IPv6 in brackets)' })
    .default('embedded')
    .meta({ example: 'drachtio://sip.example.com:9022' })
    .describe('`embedded`: in this process; or a drachtio-server, which keeps no call alive'),
  engineAuthority: file
    .optional()
    .meta({ example: 'tls/engine.pem' })
    .describe('who signed the certificate of an engine elsewhere; with it we connect over TLS'),
  listen: z
    .array(sipListener)
    .max(16, { error: 'has more than 16 listeners' })
    .default([])
    .describe('addresses phones send to, normally the VIP; udp, tcp, tls, ws or wss'),
  tls: sipTls.optional().describe('certificate of the listeners tls and wss'),
  udpWorkers: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('threads that read UDP; 1: the engine does it itself, best on few processors'),
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
    .describe('secret of the connection to the engine, mode 600'),
  applications: applications.prefault({}).describe('programs beside our own call control'),
  minExpiresS: z.int().min(10).default(60).describe('shortest registration granted'),
  maxExpiresS: z.int().min(60).default(7200).describe('longest registration granted'),
  defaultExpiresS: z.int().min(60).default(3600).describe('when a phone asks for none'),
  maxBindings: z.int().min(1).max(64).default(10).describe('devices a user may register'),
  digest: z
    .enum(['md5', 'sha-256-and-md5'])
    .default('md5')
    .describe(
      'what challenges offer; a phone that gives up on SHA-256 is then asked for MD5 alone',
    ),
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
  trunkOptionsS: z
    .int()
    .min(0)
    .max(3600)
    .default(30)
    .describe('how often, in seconds, a trunk is asked with OPTIONS whether it is there; 0 never'),
  flowTimerS: z
    .int()
    .min(0)
    .max(3600)
    .default(0)
    .describe('keep-alive period asked of devices with outbound (RFC 5626); 0 leaves it to them'),
  neverBanned: z
    .array(network)
    .max(64, { error: 'has more than 64 networks' })
    .optional()
    .describe(
      'networks that are never banned, besides our own servers; they are not believed more',
    ),
  push: push.optional().describe('how to wake devices that sleep (RFC 8599)'),
  musicOnHold: z
    .string()
    .max(255)
    .default('music-on-hold.wav')
    .describe('what a party on hold hears: a file below `media.prompts`; empty for silence'),
  transcode: z
    .array(codecName)
    .max(16, { error: 'has more than 16 codecs' })
    .default(['opus', 'G722', 'PCMA', 'PCMU'])
    .describe('what media servers change to for a party that has no codec of the other; or none'),
  topologyHiding: topologyHiding
    .prefault({})
    .describe('what peers see of each other when an application has requests forwarded'),
  trace: trace.prefault({}).describe('copies of the newest messages, in memory only'),
  hep: hep.optional().describe('a HEP collector (Homer) that gets a copy of every message'),
});

/** What the engine in this process needs, and nobody else has. */
export function checkEngine(
  { engine, engineAuthority, listen }: z.output<typeof sip>,
  report: (path: (string | number)[], message: string) => void,
): void {
  if (engine === 'embedded' && listen.length === 0) {
    report(['sip', 'listen'], 'needs at least one listener');
  }
  if (engine === 'embedded' && engineAuthority !== undefined) {
    report(['sip', 'engineAuthority'], 'is for an engine elsewhere only');
  }
  if (engine !== 'embedded' && listen.length > 0) {
    report(['sip', 'listen'], "is for the embedded engine only: phones talk to 'sip.engine'");
  }
}

/** `embedded` or `drachtio://HOST:PORT`. */
function isEngine(text: string): boolean {
  return text === 'embedded' || (text.startsWith('drachtio://') && isHostAndPort(text.slice(11)));
}

/** Who connects over TLS must be shown something. */
export function checkSipTls(
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
  if (applications.tlsListen !== undefined && applications.tls === undefined) {
    const message = "needs a certificate, the section 'tls' beside it or of 'sip'";
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
