/**
 * Everything a lab needs before it starts: authority, certificates, secrets, configurations.
 * What exists is kept, so that a lab started again is the same cluster.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMap, isSeq, parseDocument, stringify } from 'yaml';
import { joinAddress } from '../config/address.ts';
import { hashStorePassword, type StoreAccount, type StoreRole } from '../config/store-accounts.ts';
import { createAuthority, issueCertificate, nodeName } from '../native/index.ts';
import { hashAdministrator } from '../portal/api/authentication.ts';
import { holdMusic } from './music.ts';
import {
  type LabPlan,
  type LabServer,
  labDomain,
  labFiles,
  labMediaPorts,
  labPorts,
  labUsers,
  serverFiles,
} from './plan.ts';
import { type Credentials, readCredentials, writeFile } from './records.ts';

type StoreCredentials = Pick<Credentials, 'store' | 'operator' | 'metrics'>;

const secretMode = 0o600;
const publicMode = 0o644;

/** A secret of 192 bits that needs no quoting anywhere. */
export function generateSecret(): string {
  return randomBytes(24).toString('base64url');
}

/**
 * Makes what is missing; returns the secrets. A configuration that is there is kept: somebody may
 * have changed it, or given the server another id. `joining` names a server that is added to a
 * cluster instead of founding one.
 */
export async function makeMaterials(
  plan: LabPlan,
  joining: string | null = null,
): Promise<Credentials> {
  mkdirSync(plan.directory, { recursive: true });
  const files = labFiles(plan.directory);
  const authority = makeAuthority(plan);
  const credentials = makeCredentials(plan);
  const clusterSecret = keep(join(plan.directory, 'cluster.secret'), generateSecret);
  const administrator = await keepAsync(join(plan.directory, 'administrator'), () =>
    hashAdministrator(credentials.admin.user, credentials.admin.password),
  );
  for (const server of plan.servers) {
    const at = (name: string) => join(server.directory, name);
    if (!existsSync(at('tls/key.pem'))) {
      const addresses = [server.address, server.address6, ...plan.vip, '127.0.0.1'];
      const names = [server.name, labDomain, ...(server.id === null ? [] : [nodeName(server.id)])];
      const issued = issueCertificate(authority, server.name, addresses, names);
      writeFile(at('tls/certificate.pem'), issued.certificate, publicMode);
      writeFile(at('tls/key.pem'), issued.key, secretMode);
    }
    writeFile(at('tls/authority.pem'), readFileSync(files.authority, 'utf8'), publicMode);
    writeFile(at('secrets/cluster'), `${clusterSecret}\n`, secretMode);
    writeFile(at('secrets/store'), `${credentials.store.password}\n`, secretMode);
    if (server.id !== null) {
      writeFile(at('secrets/drachtio'), `${credentials.drachtio.secret}\n`, secretMode);
      writeFile(at('secrets/admin'), `${administrator}\n`, secretMode);
    }
    if (server.id === null && !existsSync(at('prompts'))) {
      writeFile(at('prompts/music-on-hold.wav'), holdMusic(), publicMode);
    }
    const { config } = serverFiles(server.directory);
    if (!existsSync(config)) {
      const made = configOf(plan, server, credentials, server.name === joining);
      writeFile(config, stringify(made), publicMode);
    }
  }
  return credentials;
}

function makeAuthority(plan: LabPlan): { certificate: string; key: string } {
  const files = labFiles(plan.directory);
  if (!existsSync(files.authorityKey)) {
    const made = createAuthority();
    writeFile(files.authority, made.certificate, publicMode);
    writeFile(files.authorityKey, made.key, secretMode);
  }
  return {
    certificate: readFileSync(files.authority, 'utf8'),
    key: readFileSync(files.authorityKey, 'utf8'),
  };
}

function makeCredentials(plan: LabPlan): Credentials {
  const file = labFiles(plan.directory).credentials;
  const kept: Partial<Credentials> = existsSync(file) ? readCredentials(file) : {};
  if (kept.operator === undefined) {
    const made: Credentials = {
      admin: { user: 'admin', password: generateSecret() },
      store: { user: 'node', password: generateSecret() },
      operator: { user: 'operator', password: generateSecret() },
      metrics: { user: 'metrics', password: generateSecret() },
      drachtio: { secret: generateSecret() },
      users: labUsers.map((name) => ({ name, password: generateSecret() })),
      ...kept,
    };
    writeFile(file, `${JSON.stringify(made, null, 2)}\n`, secretMode);
  }
  return readCredentials(file);
}

function keep(file: string, make: () => string): string {
  if (!existsSync(file)) {
    writeFile(file, `${make()}\n`, secretMode);
  }
  return readFileSync(file, 'utf8').trim();
}

async function keepAsync(file: string, make: () => Promise<string>): Promise<string> {
  const made = existsSync(file) ? '' : await make();
  return keep(file, () => made);
}

/** Users of the Redis protocol; `redis-cli` without a name is the operator. */
function accountsOf(credentials: StoreCredentials): StoreAccount[] {
  const { store, operator, metrics } = credentials;
  const account = (name: string, role: StoreRole, password: string) => ({
    name,
    role,
    hashes: [hashStorePassword(password)],
  });
  const named = [
    account(store.user, 'node', store.password),
    account(operator.user, 'operator', operator.password),
    account(metrics.user, 'metrics', metrics.password),
  ];
  const nameless = account('default', 'operator', operator.password);
  return store.user === nameless.name ? named : [...named, nameless];
}

/**
 * Names a new server in `cluster.peers` of every configuration; the rest of them stays. Its own
 * names whom that of `like` names: members may have left since the lab was made.
 */
export function namePeer(plan: LabPlan, added: LabServer, like: LabServer): void {
  const { id, name, address } = added;
  const peersOf = ({ directory }: LabServer) => {
    const { config } = serverFiles(directory);
    const document = parseDocument(readFileSync(config, 'utf8'));
    return { config, document, peers: document.getIn(['cluster', 'peers']) };
  };
  for (const server of plan.servers) {
    const { config, document, peers } = peersOf(server);
    const known = peersOf(server === added ? like : server).peers;
    if (!isSeq(peers) || !isSeq(known)) {
      continue;
    }
    const others = known.items.filter((one) => !isMap(one) || one.get('id') !== id);
    peers.items = [...others, document.createNode({ id, name, address })];
    writeFile(config, document.toString(), publicMode);
  }
}

/** Each media server may take the addresses of all others. */
function floatingOf(plan: LabPlan, { floating }: LabServer): Record<string, unknown> {
  const group = plan.servers.flatMap((one) => one.floating);
  const addresses = floating;
  return addresses.length === 0 ? {} : { floating: { interface: 'eth0', addresses, group } };
}

/** The configuration of one server of a lab; file names are relative to its directory. */
export function configOf(
  plan: LabPlan,
  server: LabServer,
  credentials: StoreCredentials,
  joins = false,
): Record<string, unknown> {
  const tls = { certificate: 'tls/certificate.pem', key: 'tls/key.pem' };
  const peers = plan.servers
    .filter((one) => one.id !== null)
    .map((one) => ({ id: one.id, name: one.name, address: one.address }));
  const shared = {
    name: server.name,
    roles: server.roles,
    address: server.address,
    directory: 'state',
    cluster: {
      ...(server.id === null ? {} : { id: server.id }),
      peers,
      ...(joins ? { join: true } : {}),
      vip: { interface: 'eth0', addresses: plan.vip },
      secretFile: 'secrets/cluster',
      certificates: { authority: 'tls/authority.pem', ...tls },
    },
    store: {
      user: credentials.store.user,
      passwordFile: 'secrets/store',
      ...(server.id === null ? {} : { accounts: accountsOf(credentials) }),
    },
  };
  if (server.id === null) {
    const interfaces = [{ local: server.address }, { local: server.address6 }];
    const ng = joinAddress(server.address, labPorts.ng);
    const media = { interfaces, ngListen: ng, ngTcpListen: ng };
    const moving = floatingOf(plan, server);
    return { ...shared, media: { ...media, ...moving, ports: labMediaPorts, prompts: 'prompts' } };
  }
  const doors: [string, number][] = [
    ['udp', labPorts.sip],
    ['tcp', labPorts.sip],
    ['tls', labPorts.sipTls],
    ['ws', labPorts.sipWs],
    ['wss', labPorts.sipWss],
  ];
  const listen = plan.vip.flatMap((address) =>
    doors.map(([transport, port]) => `${transport}/${joinAddress(address, port)}`),
  );
  return {
    ...shared,
    sip: { domain: labDomain, listen, tls, drachtioSecretFile: 'secrets/drachtio' },
    api: { ...tls, adminFile: 'secrets/admin' },
  };
}
