/**
 * What the page says and hears, with the browser's own WebRTC: an oscillator in place of a
 * microphone, and samples of what comes in place of a person.
 */
import { dominantHertz } from '../phone/tone.ts';

/** The few things of the browser that are used here; Node knows none of them. */
interface AudioNode {
  connect(to: AudioNode): void;
}
interface Oscillator extends AudioNode {
  frequency: { value: number };
  start(): void;
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
interface PeerConnection extends EventTarget {
  getStats(): Promise<Map<string, Record<string, unknown>>>;
}
interface Web {
  AudioContext: new () => Context;
  Audio: new () => AudioElement;
  MediaStream: new (tracks: unknown[]) => unknown;
  RTCPeerConnection: new (config: unknown) => PeerConnection;
}

const web = globalThis as unknown as Web;
/** Two thirds of a second at 48 kHz, the most that an analyser keeps. */
const keptSamples = 32_768;
/** Half of what is possible: as loud as a phone's tone. */
const loudness = 0.4;
/** `dominantHertz` takes 16 bits. */
const fullScale = 32_767;

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
  constructor(hertz: number) {
    this.#context = new web.AudioContext();
    const oscillator = this.#context.createOscillator();
    const gain = this.#context.createGain();
    const microphone = this.#context.createMediaStreamDestination();
    oscillator.frequency.value = hertz;
    gain.gain.value = loudness;
    oscillator.connect(gain);
    gain.connect(microphone);
    oscillator.start();
    this.#context.resume().catch(() => undefined);
    this.stream = microphone.stream;
    const opened = (connection: PeerConnection) => this.#listen(connection);
    web.RTCPeerConnection = class extends web.RTCPeerConnection {
      constructor(config: unknown) {
        super(config);
        opened(this);
      }
    };
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

  async heard(): Promise<HeardSound> {
    const samples = new Float32Array(keptSamples);
    this.#analyser?.getFloatTimeDomainData(samples);
    const scaled = samples.map((sample) => sample * fullScale);
    const kinds = ['transport', 'candidate-pair', 'inbound-rtp', 'outbound-rtp'];
    const stats = [...((await this.#connection?.getStats()) ?? new Map()).values()];
    return {
      hertz: dominantHertz(scaled, this.#context.sampleRate),
      connections: this.#connections,
      stats: stats.filter(({ type }) => kinds.includes(String(type))),
    };
  }
}
