/**
 * What a server's configuration file may say. One schema is the source of the checks, of the
 * defaults and of `docs/reference/config.md`. Secrets are never in the file: it names the files
 * that hold them.
 */
import { z } from 'zod';
import { consumerAddress, file, ipAddress, port, socketAddress } from './fields.ts';
import { checkEngine, checkSipTls, sip } from './sip-schema.ts';
import { storeAccountList } from './store-accounts.ts';

/** Roles a server can carry. */
export const roles = ['call-manager', 'media'] as const;
export type Role = (typeof roles)[number];

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

const floating = z.strictObject({
  interface: z
    .string()
    .min(1)
    .optional()
    .meta({ example: 'eth0' })
    .describe('interface that carries them; without it something else brings them here'),
  addresses: z
    .array(ipAddress)
    .min(1, { error: 'needs at least one address' })
    .max(2, { error: 'has more than two addresses' })
    .describe('addresses for RTP of this server alone, which move when it dies'),
  group: z
    .array(ipAddress)
    .min(1, { error: 'needs at least one address' })
    .max(16, { error: 'has more than 16 addresses' })
    .describe('all addresses that may come here: those of every server of the network segment'),
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
  floating: floating
    .optional()
    .describe('addresses that move to another server; without them calls move with a re-INVITE'),
  ngListen: socketAddress.describe('UDP listener of the NG protocol'),
  ngTcpListen: socketAddress
    .optional()
    .describe('TCP listener of the NG protocol, WebSocket too; without it only UDP'),
  ports: portRange.default({ from: 20_000, to: 59_999 }).describe('UDP ports for RTP'),
  workers: z.int().min(1).max(64).default(1).describe('threads that move packets'),
  timeoutS: z.int().min(5).default(60).describe('silence after which a session is given up'),
  recordings: file.meta({ example: 'recordings' }).optional().describe('folder of recordings'),
  prompts: file
    .meta({ example: 'prompts' })
    .optional()
    .describe('folder below which `play media` finds files; without it none is played'),
  fastPath: z
    .enum(['auto', 'off'])
    .default('auto')
    .describe('the kernel relays established flows: where it can (Linux 6.6, CAP_BPF) or never'),
  packetIo: z
    .enum(['auto', 'epoll', 'io_uring', 'sk_lookup'])
    .default('auto')
    .describe('how threads receive and send; `auto` is io_uring where a probe finds it to work'),
  recordingFormat: z
    .enum(['wav', 'opus'])
    .default('wav')
    .describe('`wav`: 16-bit samples; `opus`: Opus in Ogg, a tenth as large'),
  codecs: z
    .array(file.meta({ example: '/usr/lib/raftpbx/g729.so' }))
    .max(16)
    .default([])
    .describe('shared libraries of further codecs'),
  forwardTo: consumerAddress
    .optional()
    .describe('who takes the sound of `start forwarding`, over TCP or a Unix socket; else nobody'),
  forwardRateHz: z
    .literal([8_000, 16_000, 48_000])
    .meta({ example: '16000' })
    .default(8_000)
    .describe('samples a second of forwarded sound: 8000, 16000 or 48000'),
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
    if (server.media !== undefined) {
      checkFloating(server.media, report);
    }
    if (server.sip !== undefined) {
      checkEngine(server.sip, report);
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

function checkFloating(
  { floating: moving, interfaces, ngTcpListen }: z.output<typeof media>,
  report: (path: (string | number)[], message: string) => void,
): void {
  if (moving === undefined) {
    return;
  }
  const at = ['media', 'floating'];
  const fixed = new Set(interfaces.map((one) => one.local));
  if (!moving.addresses.every((one) => moving.group.includes(one))) {
    report([...at, 'group'], 'lacks an address of this server');
  }
  if (moving.group.some((one) => fixed.has(one))) {
    report([...at, 'group'], 'has an address of media.interfaces, which does not move');
  }
  if (ngTcpListen === undefined) {
    report(at, "needs 'media.ngTcpListen', where Call Managers see at once that a server has died");
  }
}

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
