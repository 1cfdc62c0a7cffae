/**
 * What the page says and hears, with the browser's own WebRTC: an oscillator in place of a
 * microphone, and samples of what comes in place of a person.
 */
import { melodyAt, melodyMs } from '../phone/melody.ts';
import { dominantHertz } from '../phone/tone.ts';

/** The few things of the browser that are used here; Node knows none of them. */
interface AudioNode {
  connect(to: AudioNode): void;
}
interface Source extends AudioNode {
  start(): void;
}
interface Oscillator extends Source {
  frequency: { value: number };
}
interface Samples {
  copyToChannel(samples: Float32Array, channel: number): void;
}
interface Player extends Source {
  buffer: Samples;
  loop: boolean;
}
interface Gain extends AudioNode {
  gain: { value: number };
}
interface Analyser extends AudioNode {
  fftSize: number;
  getFloatTimeDomainData(samples: Float32Array): void;
}
interface Context {
  sampleRate: number;
  resume(): Promise<void>;
  createOscillator(): Oscillator;
  createBuffer(channels: number, length: number, sampleRate: number): Samples;
  createBufferSource(): Player;
  createGain(): Gain;
  createAnalyser(): Analyser;
  createMediaStreamSource(stream: unknown): AudioNode;
  createMediaStreamDestination(): AudioNode & { stream: unknown };
}
interface AudioElement {
  srcObject: unknown;
  muted: boolean;
  play(): Promise<void>;
}
interface CodecCapability {
  mimeType: string;
}
interface Description {
  type: string;
  sdp: string;
}
interface Transceiver {
  setCodecPreferences(codecs: CodecCapability[]): void;
}
interface PeerConnection extends EventTarget {
  getStats(): Promise<Map<string, Record<string, unknown>>>;
  getTransceivers(): Transceiver[];
  createOffer(...args: unknown[]): Promise<unknown>;
  createAnswer(...args: unknown[]): Promise<unknown>;
  setRemoteDescription(description: Description): Promise<void>;
}
interface Web {
  AudioContext: new (options: { sampleRate: number }) => Context;
  Audio: new () => AudioElement;
  MediaStream: new (tracks: unknown[]) => unknown;
  RTCPeerConnection: new (config: unknown) => PeerConnection;
  RTCRtpReceiver: { getCapabilities(kind: 'audio'): { codecs: CodecCapability[] } };
}

const web = globalThis as unknown as Web;
/** That of Opus, and six times that of a phone. */
const sampleRate = 48_000;
const samplesOfPhone = 6;
/** Two thirds of a second, the most that an analyser keeps. */
const keptSamples = 32_768;
/** Half of what is possible: as loud as a phone's tone. */
const loudness = 0.4;
/** `dominantHertz` takes 16 bits. */
const fullScale = 32_767;

/** What the browser says: a tone, or the melody of a seed. */
export interface SaidSound {
  hertz?: number;
  melody?: number;
  /** The only codec that it offers and takes, as in `opus`; all unless given. */
  codec?: string;
}

export interface HeardSound {
  /** Strongest frequency in what came last, 0 for silence. */
  hertz: number;
  /** Connections that the browser has made, and what the latest says about itself. */
  connections: number;
  stats: Record<string, unknown>[];
}

export class Sound {
  /** What is said instead of what a microphone hears. */
  readonly stream: unknown;
  readonly #context: Context;
  #analyser: Analyser | null = null;
  #connection: PeerConnection | null = null;
  #connections = 0;

  /** Takes the place of `RTCPeerConnection` to listen to each one. */
  constructor(said: SaidSound) {
    this.#context = new web.AudioContext({ sampleRate });
    const gain = this.#context.createGain();
    const microphone = this.#context.createMediaStreamDestination();
    gain.gain.value = loudness;
    const source = this.#source(said);
    source.connect(gain);
    gain.connect(microphone);
    source.start();
    this.#context.resume().catch(() => undefined);
    this.stream = microphone.stream;
    const opened = (connection: PeerConnection) => this.#listen(connection);
    web.RTCPeerConnection = class extends web.RTCPeerConnection {
      constructor(config: unknown) {
        super(config);
        opened(this);
      }

      override createOffer(...args: unknown[]): Promise<unknown> {
        limitCodecs(this, said.codec);
        return super.createOffer(...args);
      }

      override createAnswer(...args: unknown[]): Promise<unknown> {
        limitCodecs(this, said.codec);
        return super.createAnswer(...args);
      }

      // Chromium answers with what it prefers, and sends the first that it was offered.
      override setRemoteDescription({ type, sdp }: Description): Promise<void> {
        return super.setRemoteDescription({ type, sdp: only(sdp, said.codec) });
      }
    };
  }

  #source({ hertz, melody }: SaidSound): Source {
    if (melody === undefined) {
      const oscillator = this.#context.createOscillator();
      oscillator.frequency.value = hertz ?? 0;
      return oscillator;
    }
    const length = (melodyMs * sampleRate) / 1000;
    const samples = Float32Array.from({ length }, (_, i) => melodyAt(melody, i, sampleRate));
    const buffer = this.#context.createBuffer(1, length, sampleRate);
    buffer.copyToChannel(samples, 0);
    return Object.assign(this.#context.createBufferSource(), { buffer, loop: true });
  }

  #listen(connection: PeerConnection): void {
    this.#connection = connection;
    this.#connections += 1;
    connection.addEventListener('track', (event) => {
      const stream = new web.MediaStream([(event as unknown as { track: unknown }).track]);
      // Chromium decodes nothing that no element plays.
      const element = new web.Audio();
      Object.assign(element, { srcObject: stream, muted: true });
      element.play().catch(() => undefined);
      this.#analyser = this.#context.createAnalyser();
      this.#analyser.fftSize = keptSamples;
      this.#context.createMediaStreamSource(stream).connect(this.#analyser);
    });
  }

  #newest(): Float32Array {
    const samples = new Float32Array(keptSamples);
    this.#analyser?.getFloatTimeDomainData(samples);
    return samples.map((sample) => sample * fullScale);
  }

  /** The newest samples at the rate of a phone; whole ones, as they go through JSON. */
  samples(): number[] {
    const all = this.#newest();
    return Array.from({ length: Math.floor(all.length / samplesOfPhone) }, (_, i) => {
      const some = all.subarray(i * samplesOfPhone, (i + 1) * samplesOfPhone);
      return Math.round(some.reduce((sum, sample) => sum + sample, 0) / samplesOfPhone);
    });
  }

  async heard(): Promise<HeardSound> {
    const scaled = this.#newest();
    const kinds = ['transport', 'candidate-pair', 'codec', 'inbound-rtp', 'outbound-rtp'];
    const stats = [...((await this.#connection?.getStats()) ?? new Map()).values()];
    return {
      hertz: dominantHertz(scaled, this.#context.sampleRate),
      connections: this.#connections,
      stats: stats.filter(({ type }) => kinds.includes(String(type))),
    };
  }
}

/** Leaves one codec of sound; a browser has to be told before each description. */
function limitCodecs(connection: PeerConnection, name: string | undefined): void {
  if (name !== undefined) {
    const { codecs } = web.RTCRtpReceiver.getCapabilities('audio');
    const only = codecs.filter((one) => one.mimeType.toLowerCase() === `audio/${name}`);
    for (const transceiver of connection.getTransceivers()) {
      transceiver.setCodecPreferences(only);
    }
  }
}

/** What a browser that knows no other codec reads in a description. */
function only(sdp: string, name: string | undefined): string {
  const known = new RegExp(`^a=rtpmap:(\\d+) ${name}/`, 'im').exec(sdp)?.[1];
  if (name === undefined || known === undefined) {
    return sdp;
  }
  const others = new RegExp(`^a=(?:rtpmap|fmtp|rtcp-fb):(?!${known} )\\d+ .*\\r?\\n`, 'gm');
  return sdp.replace(/^(m=audio \S+ \S+) .*/m, `$1 ${known}`).replace(others, '');
}
