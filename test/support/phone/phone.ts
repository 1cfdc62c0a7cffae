/**
 * A scripted SIP phone: raw SIP over UDP or TCP, digest, one call at a time, RTP with
 * numbered frames. It does exactly what the test says and counts what happens, which a
 * real phone does not. It shares no code with the product.
 */
import { ackOfFailure, cancelOf, id, responseTo } from './build.ts';
import {
  type Dialog,
  type Direction,
  describe,
  described,
  fromAnswer,
  fromInvite,
  placeOf,
  refusalOf,
} from './dialog.ts';
import { answer, type DigestAlgorithm } from './digest.ts';
import { Exchange, type Outcome } from './exchange.ts';
import {
  headerOf,
  headersOf,
  methodOf,
  parse,
  type SipMessage,
  serialise,
  statusOf,
  tagOf,
} from './message.ts';
import { type AudioReport, RtpEnd, type Saying } from './rtp.ts';
import type { CallState, Snapshot } from './snapshot.ts';
import { OwnCrypto } from './srtp.ts';
import { hostPort, openTcp, openUdp, type Place, type Wire } from './wire.ts';

export interface PhoneOptions extends Saying {
  user: string;
  password: string;
  domain: string;
  /** Where requests outside a dialog go: the VIP. */
  registrar: Place;
  /** Our own address; the SIP port is `port`, 0 takes a free one. */
  address: string;
  port: number;
  transport: 'udp' | 'tcp';
  algorithm: DigestAlgorithm;
  /** Whether it insists on SRTP. */
  secure?: boolean;
}

export class Phone {
  readonly #options: PhoneOptions;
  readonly #exchange: Exchange;
  readonly #rtp: RtpEnd;
  #wire!: Wire;
  #registration = { callId: id(), sequence: 0 };
  #dialog: Dialog | null = null;
  #state: CallState = 'idle';
  #status = 0;
  #endedBy: Snapshot['endedBy'] = '';
  #held = false;
  #requests: Record<string, number> = {};
  #sdpVersion = 1;
  readonly #crypto = new OwnCrypto();
  /** The INVITE we sent last, for CANCEL; and the one we received last, to answer. */
  #sentInvite: SipMessage | null = null;
  #received: { invite: SipMessage; from: Place; last: string } | null = null;
  #repeatAnswer: NodeJS.Timeout | null = null;
  #acks = new Map<string, { text: string; to: Place }>();
  #waiting = new Set<() => void>();

  private constructor(options: PhoneOptions, rtp: RtpEnd) {
    this.#options = options;
    this.#rtp = rtp;
    this.#exchange = new Exchange(options.transport === 'tcp');
  }

  static async open(options: PhoneOptions): Promise<Phone> {
    const phone = new Phone(options, await RtpEnd.open(options.address, 0, options));
    const receive = (text: string, from: Place) => phone.#receive(parse(text), from);
    phone.#wire =
      options.transport === 'udp'
        ? await openUdp(options, receive)
        : openTcp(options, options.registrar, receive);
    return phone;
  }

  /** REGISTER with digest; expires 0 takes the binding away. */
  async register(expiresS = 300): Promise<Outcome> {
    const { user, domain, registrar } = this.#options;
    const build = (authorization: [string, string][]): SipMessage => {
      this.#registration.sequence += 1;
      return this.#request('REGISTER', `sip:${domain}`, [
        ['From', `<sip:${user}@${domain}>;tag=${id()}`],
        ['To', `<sip:${user}@${domain}>`],
        ['Call-ID', this.#registration.callId],
        ['CSeq', `${this.#registration.sequence} REGISTER`],
        ['Contact', `<${this.#contact()}>;expires=${expiresS}`],
        ['Expires', String(expiresS)],
        ['Supported', 'path'],
        ...authorization,
      ]);
    };
    return await this.#transact(build, registrar);
  }

  options(): Promise<Outcome> {
    const { user, domain, registrar } = this.#options;
    const build = () =>
      this.#request('OPTIONS', `sip:${domain}`, [
        ['From', `<sip:${user}@${domain}>;tag=${id()}`],
        ['To', `<sip:${domain}>`],
        ['Call-ID', id()],
        ['CSeq', '1 OPTIONS'],
      ]);
    return this.#transact(build, registrar);
  }

  /** Dials; the outcome shows in the snapshot. */
  invite(target: string): void {
    const { user, domain, registrar } = this.#options;
    this.#begin('calling');
    this.#dialog = {
      callId: id(),
      localUri: `sip:${user}@${domain}`,
      remoteUri: `sip:${target}@${domain}`,
      localTag: id(),
      remoteTag: '',
      target: `sip:${target}@${domain}`,
      routes: [],
      localSequence: 0,
    };
    const build = (authorization: [string, string][]) => {
      const invite = this.#inDialog('INVITE', authorization, this.#sdp('sendrecv'));
      this.#sentInvite = invite;
      return invite;
    };
    const ringing = (response: SipMessage) => {
      if (statusOf(response) > 100 && this.#state === 'calling') {
        this.#move('ringing');
      }
    };
    this.#transact(build, registrar, ringing).then((outcome) => this.#answered(outcome));
  }

  #answered(outcome: Outcome): void {
    this.#status = outcome.status;
    const response = outcome.response;
    if (response === null || outcome.status >= 300 || this.#dialog === null) {
      this.#end(outcome.status === 487 ? 'cancel' : 'remote');
      return;
    }
    this.#dialog = fromAnswer(this.#dialog, response);
    this.#acknowledge(response);
    this.#applySdp(response.body);
    this.#move('up');
  }

  /** Answers the ringing call with our SDP; the 200 is repeated until the ACK. */
  answer(): void {
    const received = this.#mustHave(this.#received, 'no call rings here');
    this.#status = 200;
    this.#applySdp(received.invite.body);
    this.#respond(received.invite, received.from, 200, this.#sdp('sendrecv'));
    this.#repeatUntilAck(received);
    this.#move('up');
  }

  #repeatUntilAck(received: { from: Place; last: string }, waitMs = 500): void {
    if (this.#options.transport === 'udp') {
      this.#repeatAnswer = setTimeout(() => {
        this.#wire.send(received.last, received.from);
        this.#repeatUntilAck(received, Math.min(waitMs * 2, 4000));
      }, waitMs);
    }
  }

  /** Refuses the ringing call, 486 for busy. */
  reject(status: number): void {
    const received = this.#mustHave(this.#received, 'no call rings here');
    this.#status = status;
    this.#respond(received.invite, received.from, status, '');
    this.#end('local');
  }

  cancel(): Promise<Outcome> {
    const invite = this.#mustHave(this.#sentInvite, 'nothing to cancel');
    const cancel = cancelOf(invite);
    return this.#exchange.request(cancel, (text) => this.#wire.send(text, this.#options.registrar));
  }

  async bye(): Promise<Outcome> {
    const place = this.#dialogPlace();
    this.#end('local');
    return await this.#transact((authorization) => this.#inDialog('BYE', authorization), place);
  }

  /** re-INVITE: `sendonly` holds, `sendrecv` takes back. */
  async reinvite(direction: Direction): Promise<Outcome> {
    this.#sdpVersion += 1;
    const outcome = await this.#transact(
      (authorization) => this.#inDialog('INVITE', authorization, this.#sdp(direction)),
      this.#dialogPlace(),
    );
    if (outcome.response !== null && outcome.status < 300) {
      this.#acknowledge(outcome.response);
      this.#applySdp(outcome.response.body);
    }
    return outcome;
  }

  snapshot(): Snapshot {
    return {
      state: this.#state,
      status: this.#status,
      endedBy: this.#endedBy,
      held: this.#held,
      requests: { ...this.#requests },
      peer: this.#dialog?.target ?? '',
      routes: this.#dialog?.routes ?? [],
    };
  }

  /** Resolves when the call is in `state`; rejects after `timeoutMs` with what it was. */
  until(state: CallState, timeoutMs: number): Promise<Snapshot> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.#state === state) {
          clearTimeout(timer);
          this.#waiting.delete(look);
          resolve(this.snapshot());
        }
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        const { user } = this.#options;
        const seen = JSON.stringify(this.snapshot());
        reject(new Error(`phone ${user} was not '${state}' within ${timeoutMs} ms: ${seen}`));
      }, timeoutMs);
      this.#waiting.add(look);
      look();
    });
  }

  /** Begins measuring what is heard; each payload is compared with a tone of `expectHertz`. */
  listen(expectHertz: number): void {
    this.#rtp.restart(expectHertz);
  }

  audio(): AudioReport {
    return this.#rtp.report();
  }

  /** Samples of the last second, at 8 kHz. */
  heard(): number[] {
    return this.#rtp.heard();
  }

  /** Leaves whatever call there is, as a phone that is switched off politely. */
  async leave(): Promise<void> {
    if (this.#state === 'up') {
      await this.bye();
    } else if (this.#state === 'calling' || this.#state === 'ringing') {
      // Only a caller does not know the other side's tag yet.
      await (this.#dialog?.remoteTag === '' ? this.cancel() : this.reject(480));
    }
  }

  close(): void {
    this.#exchange.close();
    this.#rtp.close();
    this.#wire.close();
    if (this.#repeatAnswer !== null) {
      clearTimeout(this.#repeatAnswer);
    }
  }

  #receive(message: SipMessage, from: Place): void {
    if (statusOf(message) > 0) {
      this.#receiveResponse(message);
      return;
    }
    const method = methodOf(message);
    this.#requests[method] = (this.#requests[method] ?? 0) + 1;
    if (method === 'INVITE') {
      this.#receiveInvite(message, from);
    } else if (method === 'ACK') {
      clearTimeout(this.#repeatAnswer ?? undefined);
    } else if (method === 'CANCEL') {
      this.#receiveCancel(message, from);
    } else if (method === 'BYE') {
      this.#receiveBye(message, from);
    } else {
      this.#respond(message, from, method === 'OPTIONS' ? 200 : 501, '');
    }
  }

  /** A final answer that comes again is acknowledged again. */
  #receiveResponse(response: SipMessage): void {
    if (!this.#exchange.handle(response) && methodOf(response) === 'INVITE') {
      const ack = this.#acks.get(headerOf(response, 'cseq'));
      if (ack !== undefined && statusOf(response) >= 200) {
        this.#wire.send(ack.text, ack.to);
      }
    }
  }

  #receiveInvite(invite: SipMessage, from: Place): void {
    const known = this.#received;
    if (known !== null && headerOf(known.invite, 'via') === headerOf(invite, 'via')) {
      this.#wire.send(known.last, from);
      return;
    }
    this.#received = { invite, from, last: '' };
    const refusal = refusalOf(invite, this.#state, this.#dialog);
    if (refusal > 0) {
      this.#respond(invite, from, refusal, '');
      return;
    }
    if (tagOf(headerOf(invite, 'to')) !== '') {
      this.#receiveReinvite(invite, from);
      return;
    }
    this.#begin('ringing');
    this.#dialog = fromInvite(invite, id());
    this.#respond(invite, from, 180, '');
  }

  #receiveReinvite(invite: SipMessage, from: Place): void {
    const offered = described(invite.body)?.direction ?? 'sendrecv';
    this.#applySdp(invite.body);
    this.#sdpVersion += 1;
    this.#respond(invite, from, 200, this.#sdp(offered === 'sendonly' ? 'recvonly' : offered));
  }

  #receiveCancel(cancel: SipMessage, from: Place): void {
    this.#respond(cancel, from, 200, '');
    if (this.#state === 'ringing' && this.#received !== null) {
      this.#status = 487;
      this.#respond(this.#received.invite, this.#received.from, 487, '');
      this.#end('cancel');
    }
  }

  #receiveBye(bye: SipMessage, from: Place): void {
    const ours = headerOf(bye, 'call-id') === this.#dialog?.callId;
    this.#respond(bye, from, ours ? 200 : 481, '');
    if (ours && this.#state === 'up') {
      this.#end('remote');
    }
  }

  /** One request, and once more with credentials when it is challenged. */
  async #transact(
    build: (authorization: [string, string][]) => SipMessage,
    place: Place,
    provisional: ((response: SipMessage) => void) | null = null,
  ): Promise<Outcome> {
    const send = (text: string) => this.#wire.send(text, place);
    const attempt = async (authorization: [string, string][]): Promise<Outcome> => {
      const message = build(authorization);
      const outcome = await this.#exchange.request(message, send, provisional);
      if (methodOf(message) === 'INVITE' && outcome.response !== null && outcome.status >= 300) {
        const text = serialise(ackOfFailure(message, outcome.response));
        this.#acks.set(headerOf(outcome.response, 'cseq'), { text, to: place });
        send(text);
      }
      return outcome;
    };
    const first = await attempt([]);
    if (first.response === null || (first.status !== 401 && first.status !== 407)) {
      return first;
    }
    const [challenge, authorization] =
      first.status === 401
        ? ['www-authenticate', 'Authorization']
        : ['proxy-authenticate', 'Proxy-Authorization'];
    const uri = this.#challengedUri(first.response);
    const challenges = headersOf(first.response, challenge);
    const value = answer(challenges, this.#options, methodOf(first.response), uri);
    const second = await attempt([[authorization, value]]);
    return { ...second, sent: second.sent + first.sent - 1, tookMs: second.tookMs + first.tookMs };
  }

  #challengedUri(response: SipMessage): string {
    const method = methodOf(response);
    return method === 'REGISTER' || method === 'OPTIONS'
      ? `sip:${this.#options.domain}`
      : (this.#dialog?.target ?? '');
  }

  #request(method: string, uri: string, headers: [string, string][], body = ''): SipMessage {
    const { address, transport } = this.#options;
    const sentBy = hostPort(address, this.#wire.port());
    const via = `SIP/2.0/${transport.toUpperCase()} ${sentBy};branch=z9hG4bK${id()};rport`;
    const type: [string, string][] = body === '' ? [] : [['Content-Type', 'application/sdp']];
    return {
      start: `${method} ${uri} SIP/2.0`,
      headers: [['Via', via], ['Max-Forwards', '70'], ...headers, ...type],
      body,
    };
  }

  #inDialog(method: string, more: [string, string][], body = ''): SipMessage {
    const dialog = this.#mustHave(this.#dialog, 'no dialog');
    dialog.localSequence += method === 'ACK' ? 0 : 1;
    const tag = dialog.remoteTag === '' ? '' : `;tag=${dialog.remoteTag}`;
    return this.#request(
      method,
      dialog.target,
      [
        ...dialog.routes.map((route): [string, string] => ['Route', route]),
        ['From', `<${dialog.localUri}>;tag=${dialog.localTag}`],
        ['To', `<${dialog.remoteUri}>${tag}`],
        ['Call-ID', dialog.callId],
        ['CSeq', `${dialog.localSequence} ${method}`],
        ['Contact', `<${this.#contact()}>`],
        ...more,
      ],
      body,
    );
  }

  #acknowledge(response: SipMessage): void {
    const text = serialise(this.#inDialog('ACK', []));
    const to = this.#dialogPlace();
    this.#acks.set(headerOf(response, 'cseq'), { text, to });
    this.#wire.send(text, to);
  }

  #respond(request: SipMessage, to: Place, status: number, body: string): void {
    const tag = this.#dialog?.localTag ?? id();
    const text = serialise(responseTo(request, status, tag, this.#contact(), body));
    if (this.#received !== null && this.#received.invite === request) {
      this.#received.last = text;
    }
    this.#wire.send(text, to);
  }

  #begin(state: CallState): void {
    this.#status = 0;
    this.#endedBy = '';
    this.#held = false;
    this.#requests = state === 'ringing' ? { INVITE: 1 } : {};
    this.#acks.clear();
    this.#move(state);
  }

  #end(by: Snapshot['endedBy']): void {
    this.#rtp.send(null);
    clearTimeout(this.#repeatAnswer ?? undefined);
    this.#endedBy = by;
    this.#move('ended');
  }

  #move(state: CallState): void {
    this.#state = state;
    for (const look of [...this.#waiting]) {
      look();
    }
  }

  #applySdp(sdp: string): void {
    const peer = described(sdp);
    if (peer !== null) {
      this.#held = peer.direction === 'sendonly' || peer.direction === 'inactive';
      if (this.#options.secure) {
        this.#crypto.agree(sdp, this.#rtp);
      }
      const speaks = peer.direction === 'sendrecv' || peer.direction === 'recvonly';
      this.#rtp.send(speaks ? peer.remote : null);
    }
  }

  #sdp(direction: Direction): string {
    const local = { address: this.#options.address, port: this.#rtp.port };
    const crypto = this.#options.secure ? this.#crypto.line : null;
    return describe(local, this.#sdpVersion, direction, crypto);
  }

  #contact(): string {
    const { user, address, transport } = this.#options;
    return `sip:${user}@${hostPort(address, this.#wire.port())};transport=${transport}`;
  }

  #dialogPlace(): Place {
    const dialog = this.#mustHave(this.#dialog, 'no dialog');
    const first = dialog.routes[0];
    const uri = first === undefined ? dialog.target : first.replace(/[<>]/g, '');
    return placeOf(uri, this.#options.registrar);
  }

  #mustHave<T>(value: T | null, complaint: string): T {
    if (value === null) {
      throw new Error(`phone ${this.#options.user}: ${complaint}`);
    }
    return value;
  }
}
