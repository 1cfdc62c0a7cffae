/** A store in memory and a media server that only translates, for tests of call control. */
import { createSocket, type Socket } from 'node:dgram';
import { DatabaseSync } from 'node:sqlite';
import { migrations } from '../../../src/domain/schema.ts';
import type { Command, Reply, SqlValue, Store, StoreEvent } from '../../../src/native/index.ts';

export class MemoryStore {
  readonly keys = new Map<string, string>();
  readonly log: string[] = [];
  /** The next writes fail as without a majority. */
  broken = false;
  readonly #database = new DatabaseSync(':memory:');
  readonly #listeners: ((events: StoreEvent[]) => void)[] = [];
  #term: number | null = null;

  /** `applied`: the migrations it begins with. */
  constructor(applied = migrations) {
    this.migrate(applied);
  }

  migrate(wanted = migrations): void {
    for (const { sql } of wanted) {
      this.#database.exec(sql);
    }
  }

  /** What call control sees of it. */
  get store(): Store {
    return this as unknown as Store;
  }

  lead(term: number): void {
    this.#term = term;
    this.#tell([{ type: 'leading', term }]);
  }

  follow(term: number): void {
    this.#term = null;
    this.#tell([{ type: 'following', term, leader: 2 }]);
  }

  set(key: string, value: string): void {
    this.keys.set(key, value);
    this.#tell([{ type: 'changed', changes: [{ key, value }] }]);
  }

  expire(key: string): void {
    this.keys.delete(key);
    this.#tell([{ type: 'changed', changes: [{ key, value: null }] }]);
  }

  async execute(command: Command): Promise<Reply> {
    return (await this.transaction([command]))[0] ?? null;
  }

  async transaction(commands: readonly Command[]): Promise<Reply[]> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.broken) {
      throw new Error('no majority');
    }
    return commands.map((command) => this.#apply(command.map(String)));
  }

  transactionInOrder(commands: readonly Command[]): Promise<Reply[]> {
    return this.transaction(commands);
  }

  read([name, key]: Command): Reply {
    return name === 'GET' ? (this.keys.get(String(key)) ?? null) : [];
  }

  scan(prefix: string, after: string | null, limit: number) {
    return [...this.keys]
      .filter(([key]) => key.startsWith(prefix) && (after === null || key > after))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([key, value]) => ({ key, value }));
  }

  count(prefix: string): number {
    return this.scan(prefix, null, Number.MAX_SAFE_INTEGER).length;
  }

  query<Row>(sql: string, args: readonly SqlValue[] = []): Row[] {
    const values = args.map((arg) => (typeof arg === 'boolean' ? Number(arg) : arg));
    return this.#database.prepare(sql).all(...values) as Row[];
  }

  watch(_prefixes: readonly string[], listener: (events: StoreEvent[]) => void): void {
    this.#listeners.push(listener);
  }

  /** As before anything of the membership is known. */
  members() {
    return [];
  }

  status() {
    const role = this.#term === null ? 'follower' : 'leader';
    return { role, leader: this.#term === null ? 2 : 1, term: this.#term ?? 0 };
  }

  #tell(events: StoreEvent[]): void {
    for (const listener of this.#listeners) {
      listener(events);
    }
  }

  #apply([name = '', ...rest]: string[]): Reply {
    const [key = '', value = '', mode = ''] = rest;
    this.log.push(`${name} ${key}`);
    switch (name) {
      case 'SET':
        if (mode === 'XX' && !this.keys.has(key)) {
          return null;
        }
        this.keys.set(key, value);
        return 'OK';
      case 'DEL':
        return rest.filter((one) => this.keys.delete(one)).length;
      case 'SQL.EXEC':
        return Number(this.#database.prepare(key).run(...JSON.parse(value)).changes);
      default:
        return null;
    }
  }
}

/**
 * Answers NG: every description comes back marked, so a test sees who translated it. Asked to
 * transcode it adds Opus.
 */
export class FakeMedia {
  readonly commands: string[] = [];
  /** Commands that are not answered, as by a dead server. */
  silent = false;
  readonly #socket: Socket = createSocket('udp4');

  async listen(): Promise<string> {
    this.#socket.on('message', (message, from) => {
      const space = message.indexOf(' ');
      const cookie = message.subarray(0, space).toString();
      const fields = decodeFlat(message.subarray(space + 1).toString());
      this.commands.push(`${fields.get('command')} ${fields.get('from-tag') ?? ''}`.trim());
      if (!this.silent) {
        const isWider = message.includes('9:transcode');
        const more = isWider ? 'a=rtpmap:96 opus/48000/2\r\n' : '';
        const own = fields.get('sdp') ?? '';
        const wide = isWider ? own.replace(/^m=audio .*/m, '$& 96') : own;
        const sdp = `${wide}${more}a=relayed\r\n`;
        const reply = `d6:result2:ok3:sdp${sdp.length}:${sdp}e`;
        this.#socket.send(`${cookie} ${reply}`, from.port, from.address);
      }
    });
    await new Promise<void>((resolve) => this.#socket.bind(0, '127.0.0.1', resolve));
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  close(): void {
    this.#socket.close();
  }
}

/** String fields of a bencoded dictionary; lists are skipped over. */
function decodeFlat(text: string): Map<string, string> {
  const strings: string[] = [];
  let at = 1;
  while (at < text.length) {
    const match = /^(\d+):/.exec(text.slice(at, at + 8));
    if (match === null) {
      at += 1;
      continue;
    }
    const start = at + match[0].length;
    strings.push(text.slice(start, start + Number(match[1])));
    at = start + Number(match[1]);
  }
  const fields = new Map<string, string>();
  for (const name of ['command', 'from-tag', 'to-tag', 'sdp', 'call-id']) {
    const index = strings.indexOf(name);
    const value = strings[index + 1];
    if (index >= 0 && value !== undefined) {
      fields.set(name, value);
    }
  }
  return fields;
}
