/**
 * A connection of the leader to each media server (NG over WebSocket). It carries what is
 * longer than a datagram, and it ends with the process at its other end: so call control knows
 * within milliseconds what the lease tells within a second.
 *
 * A connection that ended proves nothing by itself. Who refuses the next one has nobody who
 * listens: its process is gone. A machine that says nothing may live on, out of our sight; its
 * lease tells.
 */
import { connect } from 'node:net';
import { parseHost } from '../cluster/index.ts';
import { PbxError } from '../domain/errors.ts';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import type { Lease } from '../domain/server.ts';

export interface LinkOptions {
  /** Leases of the media servers that are up; none while another node leads. */
  servers(): readonly Lease[];
  /** The process of this lease is gone. */
  died(lease: Lease): void;
  log: Log;
}

/** An answer, as far as it is looked at. */
export interface LinkReply {
  result: string;
  state?: string;
  'error-reason'?: string;
}

interface Waiting {
  resolve(reply: LinkReply): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

interface Link {
  lease: Lease;
  socket: WebSocket;
  isOpen: boolean;
  waiting: Map<string, Waiting>;
}

export class MediaLinks {
  readonly #options: LinkOptions;
  readonly #links = new Map<string, Link>();
  #cookie = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** Opens what is missing and closes what is not wanted any more. */
  tick(): void {
    const wanted = new Map(this.#options.servers().map((lease) => [lease.name, lease]));
    for (const [name, link] of this.#links) {
      const lease = wanted.get(name);
      if (lease === undefined || lease.life !== link.lease.life) {
        this.#forget(link);
      }
    }
    for (const lease of wanted.values()) {
      if (lease.ngTcp !== undefined && !this.#links.has(lease.name)) {
        this.#open(lease, lease.ngTcp);
      }
    }
  }

  close(): void {
    for (const link of this.#links.values()) {
      this.#forget(link);
    }
  }

  /** Sends a command to a server; rejects when it is refused or not answered in time. */
  request(server: string, command: string, fields: object): Promise<LinkReply> {
    const link = this.#links.get(server);
    if (link === undefined || !link.isOpen || link.waiting.size >= limits.mediaLinkWaiting) {
      return Promise.reject(new PbxError('PBX_MEDIA_SILENT', `${command} at ${server}`));
    }
    this.#cookie += 1;
    const cookie = `link-${this.#cookie}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        link.waiting.delete(cookie);
        reject(new PbxError('PBX_MEDIA_SILENT', `${command} at ${server}`));
      }, limits.mediaLinkAnswerMs);
      link.waiting.set(cookie, { resolve, reject, timer });
      link.socket.send(`${cookie} ${JSON.stringify({ ...fields, command })}`);
    });
  }

  #open(lease: Lease, place: string): void {
    const socket = new WebSocket(`ws://${place}/`, ['ng.rtpengine.com']);
    const link: Link = { lease, socket, isOpen: false, waiting: new Map() };
    this.#links.set(lease.name, link);
    socket.onopen = () => {
      link.isOpen = true;
    };
    socket.onmessage = ({ data }) => answer(link, String(data));
    socket.onclose = () => this.#ended(link, place);
    // What went wrong shows as the end of it.
    socket.onerror = () => undefined;
  }

  #ended(link: Link, place: string): void {
    const { lease, isOpen } = link;
    if (this.#links.get(lease.name) !== link) {
      return;
    }
    this.#forget(link);
    if (isOpen) {
      this.#ask(lease, place);
    }
  }

  /**
   * Whether anybody listens there still. A process that is being ended loses its connections one
   * after the other: one that comes about meanwhile breaks at once, and it is asked again.
   */
  #ask(lease: Lease, place: string, times: number = limits.mediaLinkAsks): void {
    const { log, died } = this.#options;
    const socket = connect(parseHost(place));
    let isOver = false;
    const lives = setTimeout(() => {
      // Or nothing comes back, which says nothing.
      isOver = true;
      socket.destroy();
    }, limits.mediaLinkConnectMs);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') {
        isOver = true;
        log.info({ server: lease.name }, 'nobody listens at a media server any more');
        died(lease);
      }
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(lives);
      if (!isOver && times > 0) {
        setTimeout(() => this.#ask(lease, place, times - 1), limits.mediaLinkAskMs);
      }
    });
    socket.resume();
  }

  #forget(link: Link): void {
    this.#links.delete(link.lease.name);
    for (const { reject, timer } of link.waiting.values()) {
      clearTimeout(timer);
      reject(new PbxError('PBX_MEDIA_SILENT', link.lease.name));
    }
    link.waiting.clear();
    link.socket.close();
  }
}

function answer(link: Link, message: string): void {
  const at = message.indexOf(' ');
  const waiting = link.waiting.get(message.slice(0, at));
  if (waiting === undefined) {
    return;
  }
  link.waiting.delete(message.slice(0, at));
  clearTimeout(waiting.timer);
  const reply = JSON.parse(message.slice(at + 1)) as LinkReply;
  if (reply.result === 'ok') {
    waiting.resolve(reply);
  } else {
    waiting.reject(new PbxError('PBX_MEDIA_REFUSED', reply['error-reason'] ?? reply.result));
  }
}
