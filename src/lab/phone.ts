/**
 * A real phone for the lab: baresip without a screen, driven over its control port. It plays a
 * tone into every call, answers calls by itself and records what it hears, so that a break in
 * the audio can be measured where a person would hear it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError } from './failure.ts';
import { inNamespace } from './network.ts';
import { labDomain, labPorts } from './plan.ts';
import { writeFile } from './records.ts';

const program = fileURLToPath(new URL('./phone-inside.ts', import.meta.url));
const modules = '/usr/lib/baresip/modules';
/** How often a phone is asked whether it is registered. */
const askPeriodMs = 100;
/** A phone has unregistered by then. */
const quitPatienceMs = 2000;
/** Where audio goes that nobody listens to; the recording is made before it gets there. */
const nowhere = 'aubridge,nowhere';

export interface PhoneOptions {
  name: string;
  user: string;
  password: string;
  /** null: our own. */
  namespace: string | null;
  address: string;
  /** SIP port, the one above is taken as well; control and RTP ports are derived from it. */
  port: number;
  /** For its configuration and recordings. */
  directory: string;
  /** Where it registers; the VIP unless given. */
  server?: string;
  transport?: 'udp' | 'tcp' | 'tls';
  /** Certificate of the authority it trusts; needed by tls. */
  authority?: string;
  /** What it does about SRTP: nothing, offers it beside plain RTP, or insists on it. */
  encryption?: 'none' | 'optional' | 'required';
  /** Frequency of its tone. */
  toneHz?: number;
  /** Expiry it asks for. */
  expiresS?: number;
}

/** The same in baresip's account file. */
const mediaEncryption = {
  none: [],
  optional: ['mediaenc=srtp'],
  required: ['mediaenc=srtp-mand'],
};

/** What baresip tells: REGISTER_OK, CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED and others. */
export interface PhoneEvent {
  type: string;
  atMs: number;
  detail: string;
}

/** Starts a phone; resolves when it runs, which is before it is registered. */
export async function startPhone(options: PhoneOptions): Promise<Phone> {
  writeConfiguration(options);
  const phone = new Phone(options);
  await phone.controllable();
  return phone;
}

export class Phone {
  readonly name: string;
  /** Emits `event` with a `PhoneEvent`. */
  readonly events = new EventEmitter<{ event: [PhoneEvent] }>();
  /** Everything it told, in order. */
  readonly history: PhoneEvent[] = [];
  readonly #options: PhoneOptions;
  readonly #child: ChildProcess;
  #text = '';

  constructor(options: PhoneOptions) {
    this.name = options.name;
    this.#options = options;
    const output = openSync(join(options.directory, 'baresip.log'), 'a');
    const control = String(controlPort(options));
    const command = [process.execPath, program, options.directory, control];
    const { namespace } = options;
    const [first = '', ...args] = namespace === null ? command : inNamespace(namespace, command);
    this.#child = spawn(first, args, { stdio: ['pipe', output, output, 'ipc'] });
    closeSync(output);
    this.#child.on('message', (text) => this.#receive(String(text)));
    this.#child.stdin?.on('error', () => undefined);
  }

  /** Resolves when commands are understood. */
  async controllable(): Promise<void> {
    this.#send('uafind', this.#options.user);
    await this.wait((event) => event.type === 'response', 15_000);
  }

  /** Resolves when the phone is registered. */
  async registered(timeoutMs = 10_000): Promise<void> {
    // It may have registered before it could be listened to, so it is asked as well.
    const asking = setInterval(() => this.#send('reginfo', ''), askPeriodMs);
    try {
      await this.wait((event) => isRegistration(event), timeoutMs);
    } finally {
      clearInterval(asking);
    }
  }

  /** Calls a user; resolves when he has answered. */
  async dial(user: string, timeoutMs = 15_000): Promise<void> {
    const before = this.history.length;
    this.#send('dial', `sip:${user}@${labDomain}`);
    const ended = (event: PhoneEvent) =>
      event.type === 'CALL_ESTABLISHED' || event.type === 'CALL_CLOSED';
    const outcome = await this.wait(ended, timeoutMs, before);
    if (outcome.type === 'CALL_CLOSED') {
      throw this.#failure(`the call to ${user} ended: ${outcome.detail}`);
    }
  }

  /** Ends the call; resolves when it is over. */
  async hangup(timeoutMs = 10_000): Promise<void> {
    const before = this.history.length;
    this.#send('hangup', '');
    await this.wait((event) => event.type === 'CALL_CLOSED', timeoutMs, before);
  }

  /** An event that was told since `from`, or will be before the time is over. */
  wait(wanted: (event: PhoneEvent) => boolean, timeoutMs: number, from = 0): Promise<PhoneEvent> {
    const told = this.history.slice(from).find(wanted);
    if (told !== undefined) {
      return Promise.resolve(told);
    }
    return new Promise((resolve, reject) => {
      const done = (result: () => void) => {
        clearTimeout(late);
        this.events.off('event', look);
        this.#child.off('exit', gone);
        result();
      };
      const look = (event: PhoneEvent) => {
        if (wanted(event)) {
          done(() => resolve(event));
        }
      };
      const gone = () => done(() => reject(this.#failure('ended')));
      const late = setTimeout(
        () => done(() => reject(this.#failure(`told nothing of it in ${timeoutMs} ms`))),
        timeoutMs,
      );
      this.events.on('event', look);
      this.#child.once('exit', gone);
      if (this.#child.exitCode !== null) {
        gone();
      }
    });
  }

  /** The recording of what it heard in its last call, once there was one. */
  get recordedAudioPath(): string | null {
    const names = readdirSync(this.#options.directory).filter((name) => isRecording(name));
    const last = names.sort().at(-1);
    return last === undefined ? null : join(this.#options.directory, last);
  }

  /** Takes the registration back and ends the phone; as a power cut when that takes too long. */
  stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const late = setTimeout(() => this.#child.kill('SIGTERM'), quitPatienceMs);
      this.#child.once('exit', () => {
        clearTimeout(late);
        resolve();
      });
      this.#send('quit', '');
    });
  }

  #send(command: string, params: string): void {
    const text = JSON.stringify({ command, params, token: command });
    this.#child.stdin?.write(`${Buffer.byteLength(text)}:${text},`);
  }

  /** Netstrings: `LENGTH:JSON,` one after the other. */
  #receive(text: string): void {
    this.#text += text;
    for (;;) {
      const colon = this.#text.indexOf(':');
      const length = Number(this.#text.slice(0, colon));
      if (colon < 1 || this.#text.length < colon + length + 2) {
        return;
      }
      const message = JSON.parse(this.#text.slice(colon + 1, colon + 1 + length));
      this.#text = this.#text.slice(colon + length + 2);
      const type = message.response === true ? 'response' : String(message.type);
      const detail = String(message.param ?? message.data ?? '');
      const event = { type, atMs: performance.now(), detail };
      this.history.push(event);
      this.events.emit('event', event);
    }
  }

  #failure(what: string): LabError {
    const log = join(this.#options.directory, 'baresip.log');
    return new LabError('PBX_LAB_PHONE', `phone ${this.name}: ${what}`, `see ${log}`);
  }
}

/** Watches a recording grow: every packet heard is one write. */
export class Listener {
  #lastMs: number | null = null;
  #longestMs = 0;
  #packets = 0;
  readonly #watcher: ReturnType<typeof watch>;

  constructor(recording: string) {
    this.#watcher = watch(recording, () => {
      const now = performance.now();
      if (this.#lastMs !== null) {
        this.#longestMs = Math.max(this.#longestMs, now - this.#lastMs);
      }
      this.#lastMs = now;
      this.#packets += 1;
    });
  }

  /** Starts the measurement anew. */
  reset(): void {
    this.#longestMs = 0;
    this.#packets = 0;
  }

  /** The longest silence so far, one that lasts included; and how often something was heard. */
  get heard(): { longestSilenceMs: number; packets: number } {
    const lasting = this.#lastMs === null ? 0 : performance.now() - this.#lastMs;
    return { longestSilenceMs: Math.max(this.#longestMs, lasting), packets: this.#packets };
  }

  close(): void {
    this.#watcher.close();
  }
}

function isRegistration({ type, detail }: PhoneEvent): boolean {
  return type === 'REGISTER_OK' || (type === 'response' && /User Agents[\s\S]*OK\s/.test(detail));
}

function isRecording(name: string): boolean {
  return name.startsWith('dump-') && name.endsWith('-dec.wav');
}

function controlPort({ port }: PhoneOptions): number {
  return port + 20_000;
}

function writeConfiguration(options: PhoneOptions): void {
  const { directory, address, port } = options;
  mkdirSync(directory, { recursive: true });
  const firstRtp = 40_000 + (port % 100) * 20;
  const lines = [
    'poll_method epoll',
    `sip_listen ${address}:${port}`,
    `net_interface ${address}`,
    'call_max_calls 4',
    `audio_source ausine,${options.toneHz ?? 440}`,
    `audio_player ${nowhere}`,
    `audio_alert ${nowhere}`,
    'ausrc_srate 48000',
    'ausrc_channels 2',
    'auplay_srate 48000',
    'auplay_channels 2',
    `rtp_ports ${firstRtp}-${firstRtp + 19}`,
    'rtp_timeout 0',
    `module_path ${modules}`,
    ...['g711', 'srtp', 'ausine', 'aubridge', 'sndfile'].map((name) => `module ${name}.so`),
    'module_tmp account.so',
    ...['menu', 'ctrl_tcp'].map((name) => `module_app ${name}.so`),
    `ctrl_tcp_listen 127.0.0.1:${controlPort(options)}`,
    `snd_path ${directory}`,
    ...(options.authority === undefined ? [] : [`sip_cafile ${options.authority}`]),
    '',
  ];
  writeFile(join(directory, 'config'), lines.join('\n'), 0o644);
  const transport = options.transport ?? 'udp';
  const server = options.server ?? '10.77.0.100';
  const door = transport === 'tls' ? labPorts.sipTls : labPorts.sip;
  const parameters = [
    `<sip:${options.user}@${labDomain};transport=${transport}>`,
    `auth_user=${options.user}`,
    `auth_pass=${options.password}`,
    `outbound="sip:${server}:${door};transport=${transport}"`,
    `regint=${options.expiresS ?? 120}`,
    'answermode=auto',
    'audio_codecs=PCMU/8000/1,PCMA/8000/1',
    ...mediaEncryption[options.encryption ?? 'none'],
  ];
  writeFile(join(directory, 'accounts'), `${parameters.join(';')}\n`, 0o600);
  writeFile(join(directory, 'contacts'), '', 0o644);
}
