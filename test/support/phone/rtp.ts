/**
 * One RTP end: sends numbered frames of a tone every 20 ms and measures what arrives:
 * order, loss, the longest gap between two packets, and whether each payload is the very
 * frame the other side sent.
 */
import { createSocket, type Socket } from 'node:dgram';
import { performance } from 'node:perf_hooks';
import { melodyFrame } from './melody.ts';
import { SrtpContext } from './srtp.ts';
import { decodeMuLaw, dominantHertz, samplesPerMs, toneFrame } from './tone.ts';

/** What has arrived since the last `restart`. */
export interface AudioReport {
  sent: number;
  received: number;
  /** Sequence numbers missing between the first and the last that arrived. */
  lost: number;
  /** Includes the time since the last packet: a stream that stopped shows here. */
  longestGapMs: number;
  /** Since the last packet. */
  sinceLastMs: number;
  /** Strongest frequency in the last second. */
  hertz: number;
  /** Payloads that are, and are not, the frame of `expectHertz` with their number. */
  matching: number;
  differing: number;
  /** Encrypted packets that were not genuine, or came twice. */
  refused: number;
  /** Sources the packets had. */
  sources: number;
  /** `address:port` of the last packet. */
  from: string;
  /** Payload types that came. */
  payloadTypes: number[];
}

/** What an end says. */
export interface Saying {
  /** A tone; 0: silence. */
  hertz: number;
  /** The seed of a melody in its place. */
  melody?: number;
  frameMs?: number;
  /** Number of the first packet. */
  firstSequence?: number;
}

/** One second of frames is enough to tell tones apart. */
const keptFrames = 50;

export class RtpEnd {
  readonly #socket: Socket;
  readonly #hertz: number;
  readonly #melody: number | null;
  readonly #frameMs: number;
  #secure: { outbound: SrtpContext; inbound: SrtpContext } | null = null;
  #remote: { address: string; port: number } | null = null;
  #sequence: number;
  #startedAt = 0;
  #pacer: NodeJS.Timeout | null = null;
  #frames: Buffer[] = [];
  #expectHertz = 0;
  #report = emptyReport();
  #firstSequence = -1;
  #lastSequence = -1;
  #lastArrival = 0;
  #sources = new Set<number>();
  #payloadTypes = new Set<number>();
  #keys = '';

  private constructor(socket: Socket, { hertz, melody, frameMs, firstSequence }: Saying) {
    this.#socket = socket;
    this.#hertz = hertz;
    this.#melody = melody ?? null;
    this.#frameMs = frameMs ?? 20;
    this.#sequence = firstSequence ?? 0;
    socket.on('message', (packet, from) => this.#receive(packet, `${from.address}:${from.port}`));
  }

  /** Binds `address:port`; port 0 takes a free one. */
  static async open(address: string, port: number, saying: Saying): Promise<RtpEnd> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, address, resolve);
    });
    return new RtpEnd(socket, saying);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Sends to `remote` from now on; null falls silent. */
  send(remote: { address: string; port: number } | null): void {
    this.#remote = remote;
    if (remote !== null && this.#pacer === null) {
      this.#startedAt = performance.now() - this.#sequence * this.#frameMs;
      this.#pacer = setInterval(() => this.#sendDue(), this.#frameMs / 4);
    }
    if (remote === null && this.#pacer !== null) {
      clearInterval(this.#pacer);
      this.#pacer = null;
    }
  }

  /** Keys of both directions, base64; the same again go on counting. */
  secure(ours: string, theirs: string): void {
    if (this.#keys !== `${ours} ${theirs}`) {
      this.#keys = `${ours} ${theirs}`;
      this.#secure = { outbound: new SrtpContext(ours), inbound: new SrtpContext(theirs) };
    }
  }

  /** Frames are due by the clock, not by the timer: a late timer sends two. */
  #sendDue(): void {
    const due = Math.floor((performance.now() - this.#startedAt) / this.#frameMs);
    while (this.#sequence < due && this.#remote !== null) {
      const header = Buffer.alloc(12);
      header[0] = 0x80;
      header.writeUInt16BE(this.#sequence & 0xffff, 2);
      header.writeUInt32BE((this.#sequence * this.#frameMs * samplesPerMs) >>> 0, 4);
      header.writeUInt32BE(0x7e570000 + this.port, 8);
      const packet = Buffer.concat([header, this.#payload()]);
      const sent = this.#secure?.outbound.protect(packet) ?? packet;
      this.#socket.send(sent, this.#remote.port, this.#remote.address);
      this.#sequence += 1;
      this.#report.sent += 1;
    }
  }

  /** Silence when there is no tone: it is not compared, and costs nothing. */
  #payload(): Buffer {
    if (this.#melody !== null) {
      return melodyFrame(this.#melody, this.#sequence);
    }
    return this.#hertz === 0
      ? Buffer.alloc(this.#frameMs * samplesPerMs, 0xff)
      : toneFrame(this.#hertz, this.#sequence & 0xffff);
  }

  #receive(datagram: Buffer, from: string): void {
    if (datagram.length < 12 || (datagram[1] as number) >= 0x80 + 64) {
      return;
    }
    const packet = this.#secure === null ? datagram : this.#secure.inbound.open(datagram);
    if (packet === null) {
      this.#report.refused += 1;
      return;
    }
    const now = performance.now();
    const sequence = packet.readUInt16BE(2);
    const payload = packet.subarray(12);
    const report = this.#report;
    report.longestGapMs = Math.max(report.longestGapMs, now - this.#lastArrival);
    report.received += 1;
    report.from = from;
    report.payloadTypes = [...this.#payloadTypes.add((packet[1] as number) & 0x7f)];
    report.sources = this.#sources.add(packet.readUInt32BE(8)).size;
    this.#lastArrival = now;
    this.#firstSequence = this.#firstSequence < 0 ? sequence : this.#firstSequence;
    this.#lastSequence = Math.max(this.#lastSequence, sequence);
    // The frequency tells who is heard; hundreds of phones without a tone have no time for it.
    if (this.#hertz > 0 || this.#expectHertz > 0 || this.#melody !== null) {
      this.#frames.push(Buffer.from(payload));
    }
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
    this.#sources = new Set();
    this.#payloadTypes = new Set();
    this.#lastArrival = performance.now();
  }

  report(): AudioReport {
    const span = this.#lastSequence - this.#firstSequence + 1;
    const sinceLastMs = Math.round(performance.now() - this.#lastArrival);
    const gap = Math.max(this.#report.longestGapMs, sinceLastMs);
    return {
      ...this.#report,
      lost: this.#firstSequence < 0 ? 0 : Math.max(0, span - this.#report.received),
      longestGapMs: Math.round(gap),
      sinceLastMs,
      hertz: dominantHertz(this.heard(), 8000),
    };
  }

  /** Samples of the last second, at 8 kHz. */
  heard(): number[] {
    return [...Buffer.concat(this.#frames)].map(decodeMuLaw);
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
    sinceLastMs: 0,
    hertz: 0,
    matching: 0,
    differing: 0,
    refused: 0,
    sources: 0,
    from: '',
    payloadTypes: [],
  };
}
