/**
 * Runs in the page: a JsSIP user agent with one call at a time. `browserPhone` is what the test
 * calls from outside; see `phone.ts` for the other end.
 */
import { UA, WebSocketInterface } from 'jssip';
import type { RTCSession } from 'jssip/lib/RTCSession.js';
import { type PlainAudio, PlainPeer } from './plain-peer.ts';
import { type HeardSound, type SaidSound, Sound } from './sound.ts';

export interface PageOptions {
  /** `wss://address:port`. */
  server: string;
  user: string;
  password: string;
  domain: string;
  /** Where plain RTP is to go instead of WebRTC, or what is said over WebRTC. */
  audio: PlainAudio | SaidSound;
}

export interface PageSnapshot {
  registered: boolean;
  /** Connections that came up, and that were lost. */
  connected: number;
  disconnected: number;
  /** REGISTERs that were answered 200. */
  registrations: number;
  call: 'idle' | 'calling' | 'ringing' | 'up' | 'ended';
  /** Who ended the call, and JsSIP's word for why. */
  endedBy: string;
  cause: string;
  held: boolean;
  /** First lines of the latest messages, `>` sent and `<` received, with milliseconds. */
  trace: string[];
}

/** Longest trace; older lines are forgotten. */
const traceLinesMax = 60;
/** Seconds between attempts to connect again; JsSIP begins with 2. */
const reconnectS = 1;

const seen: PageSnapshot = {
  registered: false,
  connected: 0,
  disconnected: 0,
  registrations: 0,
  call: 'idle',
  endedBy: '',
  cause: '',
  held: false,
  trace: [],
};
let agent: UA | null = null;
let session: RTCSession | null = null;
let sound: Sound | null = null;

function mustHave<T>(value: T | null, what: string): T {
  if (value === null) {
    throw new Error(`there is no ${what}`);
  }
  return value;
}

/** A browser has no microphone here, and needs none. */
function media(): object {
  return sound === null
    ? { mediaConstraints: { audio: false, video: false } }
    : { mediaConstraints: { audio: true, video: false }, mediaStream: sound.stream };
}

function usePlainPeer(audio: PlainAudio): void {
  PlainPeer.audio = audio;
  Object.assign(globalThis, {
    RTCPeerConnection: PlainPeer,
    RTCSessionDescription: class {
      constructor(described: object) {
        Object.assign(this, described);
      }
    },
  });
}

function begin(fresh: RTCSession, call: PageSnapshot['call']): void {
  session = fresh;
  Object.assign(seen, { call, endedBy: '', cause: '', held: false });
  const ended = ({ originator, cause }: { originator: string; cause: string }) =>
    Object.assign(seen, { call: 'ended', endedBy: originator, cause });
  const move = (call: PageSnapshot['call']) => () => Object.assign(seen, { call });
  fresh.on('progress', move('ringing'));
  fresh.on('confirmed', move('up'));
  fresh.on('ended', ended);
  fresh.on('failed', ended);
  fresh.on('hold', () => Object.assign(seen, { held: true }));
  fresh.on('unhold', () => Object.assign(seen, { held: false }));
}

function trace(direction: '>' | '<', message: unknown): void {
  const text = String(message);
  const [start = ''] = text.split('\r\n', 1);
  const cseq = /^CSeq: *(.*)$/im.exec(text)?.[1] ?? '';
  seen.trace.push(`${Math.round(performance.now())} ${direction} ${start} (${cseq.trim()})`);
  seen.trace.splice(0, seen.trace.length - traceLinesMax);
}

class TracedWebSocket extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols);
    this.addEventListener('message', ({ data }) => trace('<', data));
  }

  override send(message: string): void {
    trace('>', message);
    super.send(message);
  }
}

const browserPhone = {
  start(options: PageOptions): void {
    const { audio } = options;
    if ('port' in audio) {
      usePlainPeer(audio);
    } else {
      sound = new Sound(audio);
    }
    agent = new UA({
      sockets: [new WebSocketInterface(options.server)],
      uri: `sip:${options.user}@${options.domain}`,
      password: options.password,
      session_timers: false,
      connection_recovery_min_interval: reconnectS,
      connection_recovery_max_interval: reconnectS,
    });
    agent.on('connected', () => {
      seen.connected += 1;
    });
    agent.on('disconnected', () => {
      seen.disconnected += 1;
    });
    agent.on('registered', () => {
      seen.registered = true;
      seen.registrations += 1;
    });
    agent.on('unregistered', () => {
      seen.registered = false;
    });
    agent.on('registrationFailed', ({ cause }) => {
      Object.assign(seen, { registered: false, cause: String(cause) });
    });
    agent.on('newRTCSession', (event: { originator: string; session: RTCSession }) =>
      begin(event.session, event.originator === 'local' ? 'calling' : 'ringing'),
    );
    agent.start();
  },
  dial: (user: string, domain: string) => {
    mustHave(agent, 'user agent').call(`sip:${user}@${domain}`, media());
  },
  answer: () => mustHave(session, 'call').answer(media()),
  hangup: () => mustHave(session, 'call').terminate(),
  /** Holds or takes back with a re-INVITE. */
  hold: (held: boolean) => {
    const call = mustHave(session, 'call');
    return held ? call.hold() : call.unhold();
  },
  /** Takes the binding away and closes the connection. */
  stop: () => agent?.stop(),
  snapshot: () => seen,
  heard: (): Promise<HeardSound> => mustHave(sound, 'sound').heard(),
  samples: (): number[] => mustHave(sound, 'sound').samples(),
};

export type BrowserCommands = typeof browserPhone;

Object.assign(globalThis, { browserPhone, WebSocket: TracedWebSocket });
