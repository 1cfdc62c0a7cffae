/**
 * A SIP engine that does only what a test tells it: the drachtio protocol over TCP, without SIP
 * transports. Whatever the application sends is echoed as sent and kept in order.
 */
import { createServer, type Server, type Socket } from 'node:net';

export interface Sent {
  /** `INVITE`, `CANCEL`, `BYE` ..., or the status of a response. */
  what: string;
  transactionId: string;
  dialogId: string;
  headers: Map<string, string>;
  uri: string;
  body: string;
}

export interface IncomingCall {
  id: string;
  user: string | null;
  to: string;
  sdp?: string;
  extra?: string;
  /** Behind the host of the Request-URI. */
  uriParams?: string;
}

const crlf = '\r\n';
const here = '192.0.2.10';
const peer = { protocol: 'udp', address: '192.0.2.77', port: '5062' };
const deadlineMs = 8000;

export class ScriptedEngine {
  readonly sent: Sent[] = [];
  /** Times the application has connected. */
  connections = 0;
  /** Keys of legs whose INVITE the engine knows already, after a takeover. */
  readonly known = new Map<string, string>();
  /** Keys of legs whose next INVITE is refused: the engine has not sent its own yet. */
  readonly busy = new Set<string>();
  /** The header that the next BYE is refused with. */
  challengeBye: string | null = null;
  #server: Server | null = null;
  #socket: Socket | null = null;
  #buffer = Buffer.alloc(0);
  #waiting: (() => void)[] = [];
  #messages = 0;
  #requests = new Map<string, string>();

  async listen(): Promise<number> {
    const server = createServer((socket) => {
      this.#socket = socket;
      socket.on('data', (bytes) => this.#read(bytes));
      socket.on('error', () => socket.destroy());
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** The connection breaks; the application connects again by itself. */
  drop(): void {
    this.#buffer = Buffer.alloc(0);
    this.#socket?.destroy();
  }

  /** A call comes in, authenticated unless `user` is null. */
  invite(call: IncomingCall) {
    const text = inviteOf(call);
    this.#requests.set(call.id, text);
    this.#deliver(call.id, '', `|${here}|5060`, text);
  }

  cancel(id: string): void {
    const invite = this.#requests.get(id) ?? '';
    const text = invite
      .replace(/^INVITE/, 'CANCEL')
      .replace(/CSeq: 1 INVITE/, 'CSeq: 1 CANCEL')
      .replace(/\r\n\r\n[\s\S]*/, `${crlf}${crlf}`);
    this.#deliver(id, '', '', text);
  }

  /** The device answers the INVITE of a leg. */
  respond(request: Sent, status: number, sdp = '', more: string[] = []): void {
    const text = [
      `SIP/2.0 ${status} Whatever`,
      `Via: SIP/2.0/UDP ${here};branch=z9hG4bKb`,
      `From: ${request.headers.get('from') ?? ''}`,
      `To: ${request.headers.get('to') ?? ''};tag=device`,
      `Call-ID: ${request.headers.get('call-id') ?? ''}`,
      `CSeq: 1 ${request.what}`,
      `Contact: <sip:1002@${peer.address}:5062>`,
      ...more,
      ...bodyLines(sdp),
    ].join(crlf);
    this.#deliver(request.transactionId, request.dialogId, '', text);
  }

  /** A party sends a request inside its dialog. */
  inDialog(dialogId: string, method: string, sdp = ''): string {
    const id = `in-${this.#count()}`;
    const text = [
      `${method} sip:app@${here} SIP/2.0`,
      `Via: SIP/2.0/UDP ${peer.address};branch=z9hG4bKc`,
      `From: <sip:x@${here}>;tag=remote`,
      `To: <sip:y@${here}>;tag=local`,
      `Call-ID: ${dialogId.split(';')[0]}`,
      `CSeq: 2 ${method}`,
      `Contact: <sip:x@${peer.address}:5062>`,
      ...bodyLines(sdp),
    ].join(crlf);
    this.#deliver(id, dialogId, '', text);
    return id;
  }

  /** The next message of the application that fits, in the order sent; each is given once. */
  async next(what: string, fits: (sent: Sent) => boolean = () => true): Promise<Sent> {
    const end = Date.now() + deadlineMs;
    for (;;) {
      const index = this.sent.findIndex((sent) => sent.what === what && fits(sent));
      const found = this.sent[index];
      if (found !== undefined) {
        this.sent.splice(index, 1);
        return found;
      }
      const left = end - Date.now();
      if (left <= 0) {
        const seen = this.sent.map((sent) => sent.what).join(', ');
        throw new Error(`the application did not send ${what}; it sent: ${seen}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  #deliver(transactionId: string, dialogId: string, more: string, text: string): void {
    const id = this.#count();
    const from = `${peer.protocol}|${peer.address}|${peer.port}|00:00:00.0`;
    const head = `m${id}|sip|network|${text.length}|${from}|${transactionId}|${dialogId}${more}|`;
    this.#write(`${head}${crlf}${text}`);
  }

  #count(): number {
    this.#messages += 1;
    return this.#messages;
  }

  #write(payload: string): void {
    this.#socket?.write(`${Buffer.byteLength(payload)}#${payload}`);
  }

  #read(bytes: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    for (;;) {
      const hash = this.#buffer.indexOf('#');
      const length = Number(this.#buffer.subarray(0, Math.max(hash, 0)).toString());
      if (hash < 1 || this.#buffer.length < hash + 1 + length) {
        return;
      }
      const frame = this.#buffer.subarray(hash + 1, hash + 1 + length).toString();
      this.#buffer = this.#buffer.subarray(hash + 1 + length);
      this.#frame(frame);
    }
  }

  #frame(frame: string): void {
    const end = frame.indexOf(crlf);
    const [id, type, ...tokens] = (end < 0 ? frame : frame.slice(0, end)).split('|');
    const reply = (text: string) => this.#write(`r${this.#count()}|response|${id}|${text}`);
    if (type === 'authenticate') {
      this.connections += 1;
      reply(`OK|udp/${here}:5060|v0.9.10|udp/${here}:5060`);
    } else if (type === 'sip') {
      this.#sip(tokens[0] ?? '', tokens[1] ?? '', frame.slice(end + 2), reply);
    } else {
      reply('OK');
    }
  }

  #sip(txn: string, dialog: string, text: string, reply: (text: string) => void): void {
    const sent = parse(text);
    const number = this.#count();
    const meta = `application|1|udp|${peer.address}|${peer.port}|00:00:00.0`;
    if (/^\d+$/.test(sent.what)) {
      const callId = sent.headers.get('call-id') ?? '';
      const tag = /tag=([^;>]+)/.exec(sent.headers.get('from') ?? '')?.[1] ?? '';
      sent.transactionId = txn;
      sent.dialogId = `${callId};from-tag=${tag}`;
      const wire = withHeaders(text, [`Contact: <sip:app@${here}>`], 'To', ';tag=ours');
      reply(`OK|${meta}|${txn}|${sent.dialogId}||Msg sent:|${crlf}${wire}`);
    } else {
      const key = sent.headers.get('x-leg');
      if (key !== undefined && this.busy.delete(key)) {
        reply('NOK|the leg is being created');
        return;
      }
      const again = key === undefined ? undefined : this.known.get(key);
      sent.transactionId = txn || again || `out-${number}`;
      sent.dialogId = dialog || `leg-${sent.transactionId};from-tag=f`;
      const own = dialog === '' ? [`Call-ID: leg-${sent.transactionId}`] : [];
      const all = [...own, `CSeq: 1 ${sent.what}`, `Contact: <sip:app@${here}>`];
      const isGiven = (line: string) => sent.headers.has(line.split(':')[0]?.toLowerCase() ?? '');
      const extra = all.filter((line) => !isGiven(line));
      const wire = withHeaders(text, extra, 'From', ';tag=f');
      sent.headers = parse(wire).headers;
      reply(`OK|${meta}|${sent.transactionId}|Msg sent:|${crlf}${wire}`);
    }
    this.sent.push(sent);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) {
      wake();
    }
    if (sent.what === 'BYE') {
      const challenge = this.challengeBye;
      this.challengeBye = null;
      this.respond(sent, challenge === null ? 200 : 407, '', challenge === null ? [] : [challenge]);
    }
  }
}

/** An INVITE as the engine hands it to the application. */
function inviteOf(call: IncomingCall): string {
  return [
    `INVITE sip:${call.to}@pbx.test${call.uriParams ?? ''} SIP/2.0`,
    `Via: SIP/2.0/UDP ${peer.address};branch=z9hG4bKa`,
    `From: "Ada" <sip:${call.user ?? 'nobody'}@pbx.test>;tag=a${call.id}`,
    `To: <sip:${call.to}@pbx.test>`,
    `Call-ID: cid-${call.id}`,
    'CSeq: 1 INVITE',
    ...(call.extra?.startsWith('Max-Forwards') ? [] : ['Max-Forwards: 70']),
    `Contact: <sip:${call.user ?? 'nobody'}@${peer.address}:5062>`,
    ...(call.user === null ? [] : [`X-Authenticated-User: ${call.user}`]),
    ...(call.extra === undefined ? [] : [call.extra]),
    ...bodyLines(call.sdp ?? 'v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\n'),
  ].join(crlf);
}

function bodyLines(sdp: string): string[] {
  const type = sdp === '' ? [] : ['Content-Type: application/sdp'];
  return [...type, `Content-Length: ${sdp.length}`, '', sdp];
}

function parse(text: string): Sent {
  const [head = '', ...rest] = text.split(`${crlf}${crlf}`);
  const [start = '', ...lines] = head.split(crlf);
  const [first = '', second = ''] = start.split(' ');
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const isResponse = first.startsWith('SIP/');
  return {
    what: isResponse ? second : first,
    transactionId: '',
    dialogId: '',
    headers,
    uri: isResponse ? '' : second,
    body: rest.join(`${crlf}${crlf}`),
  };
}

/** What the stack adds to a message: its own headers and tag. */
function withHeaders(text: string, extra: string[], tagged: string, tag: string): string {
  const [head = '', ...rest] = text.split(`${crlf}${crlf}`);
  const lines = head.split(crlf).map((line) => {
    const isTagged = line.toLowerCase().startsWith(`${tagged.toLowerCase()}:`);
    return isTagged && !line.includes(';tag=') ? line + tag : line;
  });
  return [[...lines, ...extra].join(crlf), ...rest].join(`${crlf}${crlf}`);
}
