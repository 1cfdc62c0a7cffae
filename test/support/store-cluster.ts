/** Three stores in one process: mutual TLS between them, real files, real sockets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { hashStorePassword } from '../../src/config/store-accounts.ts';
import { createAuthority, issueCertificate, nodeName, Store } from '../../src/native/index.ts';
import { eventually } from './eventually.ts';
import { freePorts } from './free-port.ts';

export const storePassword = 'a password of this test';
const ids = [1, 2, 3];

/** What the tests vary; the rest is ioredis' own choice. */
interface ClientOptions {
  username?: string;
  password?: string;
  enableAutoPipelining?: boolean;
  tls?: { ca: string };
}

export class StoreCluster {
  readonly ids = ids;
  readonly stores = new Map<number, Store>();
  readonly authority = createAuthority();
  #directory = mkdtempSync(join(tmpdir(), 'raftpbx-store-'));
  #respPorts: number[] = [];
  #clients: { disconnect(): void }[] = [];

  /** Three running stores and a leader; `respTls` lets clients speak TLS. */
  static async start({ respTls = false } = {}): Promise<StoreCluster> {
    const cluster = new StoreCluster();
    const ports = await freePorts(ids.length * 2);
    cluster.#respPorts = ports.slice(ids.length);
    const peers = ids.map((id, i) => ({
      id,
      name: `cm-${id}`,
      raft: `127.0.0.1:${ports[i]}`,
      resp: `127.0.0.1:${cluster.port(id)}`,
    }));
    const account = (name: string, role: 'node' | 'operator' | 'metrics') => ({
      name,
      role,
      hashes: [hashStorePassword(storePassword)],
    });
    const open = async ({ id, raft, resp }: (typeof peers)[number]) => {
      const tls = cluster.#certificatesOf(id);
      const store = await Store.open({
        id,
        directory: join(cluster.#directory, `store-${id}`),
        raftListen: raft,
        peers,
        join: false,
        respListen: [resp],
        accounts: [account('default', 'node'), account('operator', 'operator')],
        respTls: respTls ? { certificate: tls.certificate, key: tls.key } : null,
        respIdleS: null,
        tls,
        heartbeatMs: 50,
        electionMinMs: 300,
        electionMaxMs: 600,
      });
      cluster.stores.set(id, store);
    };
    await Promise.all(peers.map(open));
    await cluster.leader();
    return cluster;
  }

  port(id: number): number {
    return this.#respPorts[id - 1] ?? 0;
  }

  /** Every door, as clients in Cluster and Sentinel mode are told them. */
  doors(): { host: string; port: number }[] {
    return ids.map((id) => ({ host: '127.0.0.1', port: this.port(id) }));
  }

  /** A plain client of one store. */
  client(id: number, options: ClientOptions = {}): Redis {
    return this.keep(
      new Redis(this.port(id), '127.0.0.1', { ...{ password: storePassword }, ...options }),
    );
  }

  /** Remembers a client, so that it is closed at the end. */
  keep<T extends { disconnect(): void; on(event: 'error', hear: () => void): unknown }>(one: T): T {
    one.on('error', () => undefined);
    this.#clients.push(one);
    return one;
  }

  leader(): Promise<number> {
    return eventually('a leader', 10_000, () => {
      const [store] = this.stores.values();
      const id = store?.status().leader ?? null;
      return id !== null && this.stores.get(id)?.status().role === 'leader' && id;
    });
  }

  async follower(): Promise<number> {
    const leading = await this.leader();
    return ids.find((id) => id !== leading && this.stores.has(id)) as number;
  }

  /** Stops the leader. */
  async loseLeader(): Promise<void> {
    const leading = await this.leader();
    const gone = this.stores.get(leading) as Store;
    this.stores.delete(leading);
    await gone.close();
  }

  async stop(): Promise<void> {
    for (const one of this.#clients) {
      one.disconnect();
    }
    await Promise.all([...this.stores.values()].map((store) => store.close()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Puts another certificate of the same authority in place of a store's. */
  renewCertificate(id: number): void {
    this.#certificatesOf(id);
  }

  /** Puts a certificate there that does not fit the key. */
  breakCertificate(id: number): void {
    const { certificate } = this.#issue(id);
    writeFileSync(join(this.#directory, `${id}.pem`), certificate);
  }

  #issue(id: number) {
    return issueCertificate(this.authority, `store-${id}`, ['127.0.0.1'], [nodeName(id)]);
  }

  #certificatesOf(id: number) {
    const issued = this.#issue(id);
    const write = (name: string, text: string) => {
      const file = join(this.#directory, name);
      writeFileSync(file, text, { mode: 0o600 });
      return file;
    };
    return {
      // One each: a file that is written again while another store reads it is empty.
      authority: write(`${id}-ca.pem`, this.authority.certificate),
      certificate: write(`${id}.pem`, issued.certificate),
      key: write(`${id}.key`, issued.key),
    };
  }
}
