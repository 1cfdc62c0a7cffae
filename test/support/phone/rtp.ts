/**
 * One RTP end: sends numbered frames of a tone every 20 ms and measures what arrives:
 * order, loss, the longest gap between two packets, and whether each payload is the very
 * frame the other side sent.
 */
import { createSocket, type Socket } from 'node:dgram';
import { performance } from 'node:perf_hooks';
import { decodeMuLaw, dominantHertz, frameSamples, toneFrame } from './tone.ts';

/** What has arrived since the last `restart`. */
export interface AudioReport {
  sent: number;
  received: number;
  /** Sequence numbers missing between the first and the last that arrived. */
  lost: number;
  /** Includes the time since the last packet: a stream that stopped shows here. */
  longestGapMs: number;
  /** Strongest frequency in the last second. */
  hertz: number;
  /** Payloads that are, and are not, the frame of `expectHertz` with their number. */
  matching: number;
  differing: number;
  /** `address:port` of the last packet. */
  from: string;
}

/** One second of frames is enough to tell tones apart. */
const keptFrames = 50;

export class RtpEnd {
  readonly #socket: Socket;
  readonly #hertz: number;
  #remote: { address: string; port: number } | null = null;
  #sequence = 0;
  #startedAt = 0;
  #pacer: NodeJS.Timeout | null = null;
  #frames: Buffer[] = [];
  #expectHertz = 0;
  #report = emptyReport();
  #firstSequence = -1;
  #lastSequence = -1;
  #lastArrival = 0;

  private constructor(socket: Socket, hertz: number) {
    this.#socket = socket;
    this.#hertz = hertz;
    socket.on('message', (packet, from) => this.#receive(packet, `${from.address}:${from.port}`));
  }

  /** Binds `address:port`; port 0 takes a free one. */
  static async open(address: string, port: number, hertz: number): Promise<RtpEnd> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, address, resolve);
    });
    return new RtpEnd(socket, hertz);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Sends to `remote` from now on; null falls silent. */
  send(remote: { address: string; port: number } | null): void {
    this.#remote = remote;
    if (remote !== null && this.#pacer === null) {
      this.#startedAt = performance.now() - this.#sequence * 20;
      this.#pacer = setInterval(() => this.#sendDue(), 5);
    }
    if (remote === null && this.#pacer !== null) {
      clearInterval(this.#pacer);
      this.#pacer = null;
    }
  }

  /** Frames are due by the clock, not by the timer: a late timer sends two. */
  #sendDue(): void {
    const due = Math.floor((performance.now() - this.#startedAt) / 20);
    while (this.#sequence < due && this.#remote !== null) {
      const header = Buffer.alloc(12);
      header[0] = 0x80;
      header.writeUInt16BE(this.#sequence & 0xffff, 2);
      header.writeUInt32BE((this.#sequence * frameSamples) >>> 0, 4);
      header.writeUInt32BE(0x7e570000 + this.port, 8);
      const packet = Buffer.concat([header, toneFrame(this.#hertz, this.#sequence & 0xffff)]);
      this.#socket.send(packet, this.#remote.port, this.#remote.address);
      this.#sequence += 1;
      this.#report.sent += 1;
    }
  }

  #receive(packet: Buffer, from: string): void {
    if (packet.length < 12 || (packet[1] as number) >= 0x80 + 64) {
      return;
    }
    const now = performance.now();
    const sequence = packet.readUInt16BE(2);
    const payload = packet.subarray(12);
    const report = this.#report;
    report.longestGapMs = Math.max(report.longestGapMs, now - this.#lastArrival);
    report.received += 1;
    report.from = from;
    this.#lastArrival = now;
    this.#firstSequence = this.#firstSequence < 0 ? sequence : this.#firstSequence;
    this.#lastSequence = Math.max(this.#lastSequence, sequence);
    this.#frames.push(Buffer.from(payload));
    if (this.#frames.length > keptFrames) {
      this.#frames.shift();
    }
    if (this.#expectHertz > 0) {
      const same = payload.equals(toneFrame(this.#expectHertz, sequence));
      report[same ? 'matching' : 'differing'] += 1;
    }
  }

  /** Forgets what was measured; payloads are compared with a tone of `expectHertz` from now on. */
  restart(expectHertz: number): void {
    this.#report = emptyReport();
    this.#expectHertz = expectHertz;
    this.#firstSequence = -1;
    this.#lastSequence = -1;
    this.#frames = [];
    this.#lastArrival = performance.now();
  }

  report(): AudioReport {
    const span = this.#lastSequence - this.#firstSequence + 1;
    const gap = Math.max(this.#report.longestGapMs, performance.now() - this.#lastArrival);
    const samples = [...Buffer.concat(this.#frames)].map(decodeMuLaw);
    return {
      ...this.#report,
      lost: this.#firstSequence < 0 ? 0 : Math.max(0, span - this.#report.received),
      longestGapMs: Math.round(gap),
      hertz: dominantHertz(samples, 8000),
    };
  }

  close(): void {
    this.send(null);
    this.#socket.close();
  }
}

function emptyReport(): AudioReport {
  return {
    sent: 0,
    received: 0,
    lost: 0,
    longestGapMs: 0,
    hertz: 0,
    matching: 0,
    differing: 0,
    from: '',
  };
}
