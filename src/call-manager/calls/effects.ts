/**
 * Carries out what the call machine wants, for one call, in its order; what takes time reports
 * back as an event. A commit comes before the effects behind it: the engine commits what it sends,
 * later in the same log and mostly in the same entry; media commands wait until it is done.
 * Owner of: the live objects of the call (its INVITEs), nothing that has to survive.
 */
import { type CallId, callKey, legKey } from '../../domain/call.ts';
import { cdrArguments, insertCdr } from '../../domain/cdr.ts';
import { PbxError } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import type { Command, Store } from '../../native/index.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { DialogReplica } from '../../sip/rehydrate.ts';
import type { Dialog, SipRequest, SipResponse, SrfInstance } from '../../sip/srf.ts';
import { sendableStatus } from '../../sip/status.ts';
import type { EngineElsewhere } from '../elsewhere/index.ts';
import type { MediaControl } from '../media-control.ts';
import { breadthOfLeg } from './breadth.ts';
import { CallerInvite, withSdp } from './caller.ts';
import { offersFor } from './codecs.ts';
import { DeviceLeg } from './device.ts';
import { hangUp } from './hang-up.ts';
import { step } from './machine.ts';
import { CallMedia, type MediaEffect } from './media.ts';
import { passOn } from './pass-on.ts';
import { sendReinvite } from './reinvite.ts';
import { type OutgoingTrunk, trunkIdentity } from './trunk-leg.ts';
import type { Call, CallEffect, CallEvent, Step } from './types.ts';

export interface CallSurroundings {
  srf: SrfInstance;
  dialogs: DialogReplica;
  /** Null: the engine is our own. */
  elsewhere: Pick<EngineElsewhere, 'routeTo' | 'userOf' | 'refuseUnseen'> | null;
  media: MediaControl;
  /** What a party on hold hears; null: nothing. */
  music: string | null;
  store: Store;
  domain: string;
  log: Log;
  now(): number;
  /** The trunk of a leg; null when it carries no more. */
  outgoing(trunk: string): OutgoingTrunk | null;
  credentials(trunk: string): Credentials | null;
  /** The call's end is committed. */
  ended(id: CallId): void;
  /** The call's end could not be committed; the next sweep or leader ends it. */
  lost(id: CallId): void;
}

type EffectOf<Type extends CallEffect['type']> = Extract<CallEffect, { type: Type }>;

export class LiveCall {
  readonly #here: CallSurroundings;
  readonly #log: Log;
  readonly #media: CallMedia;
  readonly #legs = new Map<number, DeviceLeg>();
  /** Where the SIP messages of each leg came from last. */
  readonly #sources = new Map<number, string>();
  /** Taken over. */
  readonly #resumed: boolean;
  #call: Call;
  #invite: CallerInvite | null = null;
  #reinvite: SipResponse | null = null;
  #queue: CallEffect[][] = [];
  #running = false;
  #dropped = false;
  #moveAgainAt = 0;
  /** The record is in the store, or on its way there. */
  #recorded: boolean;
  /** The last commit of these effects; resolves to whether what waits for it may happen. */
  #commits: Promise<boolean> = Promise.resolve(true);

  constructor(here: CallSurroundings, first: Step, resumed: boolean) {
    this.#here = here;
    this.#call = first.call;
    this.#resumed = resumed;
    this.#recorded = resumed;
    this.#log = here.log.child({ call: first.call.id });
    this.#media = new CallMedia({
      media: here.media,
      log: this.#log,
      now: here.now,
      call: () => this.#call,
      callerSdp: () => this.#callerSdp(),
      deviceSdp: () => this.#dialog(this.#call.winner ?? 0)?.remote.sdp ?? '',
      music: here.music,
      resumed,
      sourceOf: (leg) => this.#sources.get(leg) ?? sourceOf(this.#dialog(leg)),
      dispatch: (event) => this.dispatch(event),
    });
    this.#enqueue(first.effects);
  }

  /** The machine's state, for the registry, the API and sweeps. */
  get call(): Call {
    return this.#call;
  }

  /** Moves the call's audio, not more often than its parties can bear. */
  moveMedia(at: number): void {
    if (at >= this.#moveAgainAt) {
      this.#moveAgainAt = at + limits.moveRetryMs;
      this.dispatch({ type: 'mediaLost' });
    }
  }

  /** This node does not lead any more: whatever still happens belongs to the new leader. */
  drop(): void {
    this.#dropped = true;
    this.#queue = [];
    for (const leg of this.#legs.values()) {
      leg.abandon();
    }
  }

  /** Gives the call the caller's INVITE: the first time, or again after a takeover. */
  attachInvite(req: SipRequest, res: SipResponse): void {
    const invite = new CallerInvite(this.#here.srf, req, res);
    invite.onCancel(() => this.dispatch({ type: 'cancelled', at: this.#here.now() }));
    this.#invite = invite;
    this.#sources.set(0, req.source_address);
  }

  /** Starts a fresh call, once its INVITE is attached. */
  begin(effects: CallEffect[]): void {
    this.#enqueue(effects);
  }

  dispatch(event: CallEvent): void {
    if (this.#dropped) {
      return;
    }
    if (this.#queue.length >= limits.callEventsMax && isOptional(event)) {
      this.#log.warn({ event: event.type }, 'event of a call refused, too many wait');
      return;
    }
    const before = this.#call.state;
    const { call, effects } = step(this.#call, event);
    this.#call = call;
    this.#log.debug({ event: event.type, before, after: call.state }, 'call stepped');
    this.#enqueue(effects);
  }

  /** A re-INVITE of either party; one at a time, the machine refuses another. */
  modify(leg: number, req: SipRequest, res: SipResponse): void {
    const sdp = req.body ?? '';
    if (sdp === '' || sdp.length > limits.sdpBytesMax) {
      // An offerless re-INVITE asks for ours: repeat it, the session stays as it is.
      const dialog = this.#dialog(leg);
      if (sdp === '' && dialog !== undefined) {
        res.send(200, withSdp(dialog.local.sdp));
      } else {
        res.send(488);
      }
      return;
    }
    if (this.#call.modification !== null || this.#call.move !== null) {
      res.send(491);
      return;
    }
    this.#reinvite = res;
    this.#sources.set(leg, req.source_address);
    this.dispatch({ type: 'modify', leg, sdp });
  }

  /** INFO and MESSAGE go to the other party as they are, and its answer comes back. */
  pass(leg: number, req: SipRequest, res: SipResponse): void {
    passOn(this.#dialog(leg === 0 ? (this.#call.winner ?? -1) : 0), req, res);
  }

  #enqueue(effects: CallEffect[]): void {
    if (effects.length > 0) {
      this.#queue.push(effects);
      if (!this.#running) {
        this.#running = true;
        void this.#run();
      }
    }
  }

  async #run(): Promise<void> {
    for (let effects = this.#queue.shift(); effects; effects = this.#queue.shift()) {
      await this.#runAll(effects);
    }
    this.#running = false;
  }

  async #runAll(effects: readonly CallEffect[]): Promise<void> {
    this.#commits = Promise.resolve(true);
    for (const effect of effects) {
      if (this.#dropped) {
        return;
      }
      try {
        const waited = this.#act(effect);
        if (waited !== undefined && !(await waited)) {
          return;
        }
      } catch (error) {
        // A bug, or a message nobody thought of: it may cost this call, never the others.
        this.#log.error({ err: error, effect: effect.type }, 'effect of a call threw');
        this.dispatch({ type: 'failed', status: 500, at: this.#here.now() });
      }
    }
  }

  /** Starts an effect; a promise says whether what follows may happen. */
  #act(effect: CallEffect): Promise<boolean> | undefined {
    switch (effect.type) {
      case 'commit':
        this.#commits = this.#commit(effect);
        return undefined;
      case 'commitEnd':
        this.#commits = this.#commitEnd(effect);
        return undefined;
      case 'forgetDialog':
        this.#forget(effect.dialogId);
        return undefined;
      case 'cancelLeg':
        return this.#cancel(effect.leg);
      case 'dialLeg':
        return this.#behindCommit(() => this.#dial(effect.leg, effect.uri));
      case 'destroyLeg':
        this.#destroy(effect.leg, effect.dialogId);
        return undefined;
      case 'ringCaller':
        this.#invite?.ring(effect.status, effect.sdp);
        return undefined;
      case 'answerCaller':
        return this.#behindCommit(() => this.#answerCaller(effect.sdp));
      case 'rejectCaller':
        this.#invite?.reject(effect.status);
        return undefined;
      case 'offerMedia':
      case 'answerEarly':
      case 'answerMedia':
      case 'deleteMedia':
      case 'moveMedia':
      case 'assumeAnswer':
      case 'resumeMusic':
      case 'renewMedia':
      case 'modifyOffer':
      case 'modifyAnswer':
        return this.#actOnMedia(effect);
      case 'modifyLeg':
        this.#reinviteLeg(effect);
        return undefined;
      case 'modifyAccept':
        this.#finishModify(effect.leg, 200, effect.sdp);
        return undefined;
      case 'modifyReject':
        this.#finishModify(effect.leg, effect.status, null);
        return undefined;
      default:
        return effect satisfies never;
    }
  }

  /** Our own engine commits what it sends, later in the same log; another one knows of no log. */
  #behindCommit(act: () => void): Promise<boolean> | undefined {
    if (this.#here.elsewhere === null) {
      act();
      return undefined;
    }
    return this.#commits.then((may) => {
      if (may && !this.#dropped) {
        act();
      }
      return may;
    });
  }

  async #actOnMedia(effect: MediaEffect): Promise<boolean> {
    const may = await this.#commits;
    if (may && !this.#dropped) {
      this.#media.act(effect);
    }
    return may;
  }

  async #commit({ record }: EffectOf<'commit'>): Promise<boolean> {
    // Only the first commit may create the key: a late one of a node that has lost its
    // leadership must not bring a call back that the next leader has ended. Nor may that leader
    // be given a call whose INVITE it may not have.
    const isFirst = !this.#recorded;
    const mode = isFirst ? [] : ['XX'];
    this.#recorded = true;
    try {
      const set = ['SET', callKey(record.id), JSON.stringify(record), ...mode];
      const { store } = this.#here;
      const replies = await store.transactionInOrder([set], limits.recordPatienceMs, isFirst);
      if (replies === null || replies[0] === null) {
        this.#log.warn({}, 'the call was ended by another node');
        this.drop();
        this.#here.lost(record.id);
        return false;
      }
      return true;
    } catch (error) {
      this.#log.error({ error }, 'the call was not committed');
      const { sipStatus } = new PbxError('PBX_STORE_UNAVAILABLE');
      this.dispatch({ type: 'failed', status: sipStatus, at: this.#here.now() });
      return false;
    }
  }

  async #commitEnd({ cdr, dialogIds }: EffectOf<'commitEnd'>): Promise<boolean> {
    const { id } = this.#call;
    const commands: Command[] = [
      ['DEL', callKey(id), ...dialogIds.map((one) => this.#here.dialogs.keyOf(one))],
      ['SQL.EXEC', insertCdr, JSON.stringify(cdrArguments(cdr))],
    ];
    for (let attempt = 0; attempt < limits.endAttempts && !this.#dropped; attempt += 1) {
      try {
        const { store } = this.#here;
        const isNew = !this.#recorded;
        if ((await store.transactionInOrder(commands, limits.recordPatienceMs, isNew)) === null) {
          break;
        }
        const { from, to, result, endedBy } = cdr;
        this.#log.info({ from, to, result, endedBy }, 'call ended');
        this.#here.ended(id);
        return true;
      } catch (error) {
        this.#log.error({ error, attempt }, 'the end of the call was not committed');
        await new Promise((resolve) => setTimeout(resolve, limits.endRetryMs * 2 ** attempt));
      }
    }
    // What follows still has to happen: the phones and the media server wait for it.
    this.#here.lost(id);
    return true;
  }

  #forget(dialogId: string): void {
    const { store, dialogs } = this.#here;
    store.execute(['DEL', dialogs.keyOf(dialogId)]).catch((error: unknown) => {
      // The engine forgets it by itself after 64 s.
      this.#log.debug({ error, dialog: dialogId }, 'an ended dialog was not deleted');
    });
  }

  #dial(no: number, uri: string): void {
    const { from, fromName, to, hops, id, media } = this.#call;
    const { srf, domain, dialogs, elsewhere, now } = this.#here;
    if (media === null) {
      throw new Error(`call ${id} dials leg ${no} without media`);
    }
    const over = this.#trunkOf(no);
    if (over === null) {
      const at = now();
      setImmediate(() => this.dispatch({ type: 'legFailed', leg: no, status: 503, at }));
      return;
    }
    const name = fromName === '' ? '' : `"${fromName}" `;
    const device = {
      uri,
      key: elsewhere === null ? legKey(id, no) : null,
      from: `${name}<sip:${from}@${domain}>`,
      to: `<sip:${to}@${domain}>`,
      ...(over === 'device' ? this.#wayTo(uri) : trunkIdentity(this.#call, uri, over)),
      hops,
      breadth: breadthOfLeg(this.#call, no),
      offers: offersFor(uri, media.sdp, this.#callerSdp()),
      attach: this.#attaches,
    };
    const leg = new DeviceLeg(srf, device, {
      heard: () => {
        if (this.#call.legs.some((leg) => leg.no === no && leg.silentAt)) {
          this.dispatch({ type: 'legHeard', leg: no });
        }
      },
      progress: (status, sdp, source) => {
        this.#sources.set(no, source);
        this.dispatch(
          sdp === null
            ? { type: 'legRinging', leg: no, status }
            : { type: 'legProgress', leg: no, sdp },
        );
      },
      answered: (dialog) => {
        dialogs.adopt(dialog, { callId: id, leg: no });
        this.#sources.set(no, dialog.res.source_address);
        const sdp = dialog.remote.sdp ?? '';
        this.dispatch({ type: 'legAnswered', leg: no, dialogId: dialog.id, sdp, at: now() });
      },
      failed: (status) => this.dispatch({ type: 'legFailed', leg: no, status, at: now() }),
    });
    this.#legs.set(no, leg);
  }

  /** Legs may live in the engine although they were not dialled here: one of our own knows. */
  get #attaches(): boolean {
    return this.#resumed && this.#here.elsewhere === null;
  }

  /** Where a device is reached that our own engine would find by its Contact. */
  #wayTo(uri: string): { proxy?: string } {
    const proxy = this.#here.elsewhere?.routeTo(this.#call.to, uri) ?? null;
    return proxy === null ? {} : { proxy };
  }

  /** The trunk of a leg that may be dialled, or has been. */
  #trunkOf(no: number): OutgoingTrunk | 'device' | null {
    const name = this.#call.legs.find((leg) => leg.no === no)?.trunk;
    const trunk = name === undefined ? null : this.#here.outgoing(name);
    return name === undefined || (trunk === null && this.#resumed) ? 'device' : trunk;
  }

  async #cancel(no: number): Promise<boolean> {
    if (this.#attaches && !this.#legs.has(no)) {
      // The INVITE lives in the engine: attach to it to be able to cancel it.
      const leg = this.#call.legs.find((each) => each.no === no);
      if (leg !== undefined && this.#call.media !== null) {
        this.#dial(no, leg.uri);
      }
    }
    await this.#legs.get(no)?.cancel();
    return true;
  }

  #destroy(no: number, dialogId: string): void {
    const dialog = this.#here.dialogs.find(dialogId);
    if (dialog === undefined) {
      this.#log.debug({ leg: no, dialog: dialogId }, 'no dialog to hang up');
      return;
    }
    hangUp(this.#here.dialogs, dialog, this.#log, this.#credentials(no));
  }

  /** For a provider that wants to know inside a call who asks. */
  #credentials(no: number): Credentials | null {
    const leg = this.#call.legs.find((one) => one.no === no);
    const trunk = no === 0 ? this.#call.trunk : leg?.trunk;
    return trunk ? this.#here.credentials(trunk) : null;
  }

  #answerCaller(sdp: string): void {
    const { dialogs, now } = this.#here;
    const { id } = this.#call;
    this.#invite?.answer(sdp, (dialog) => {
      if (dialog === null) {
        this.dispatch({ type: 'callerLost', at: now() });
        return;
      }
      dialogs.adopt(dialog, { callId: id, leg: 0 });
      this.dispatch({ type: 'callerConnected' });
    });
  }

  #reinviteLeg({ leg, sdp }: EffectOf<'modifyLeg'>): void {
    const { now } = this.#here;
    const credentials = this.#credentials(leg);
    sendReinvite(this.#dialog(leg), sdp, { now, credentials }, (outcome) =>
      this.dispatch({ ...outcome, leg }),
    );
  }

  #callerSdp(): string {
    const inDialog = this.#call.caller === 'connected' ? this.#dialog(0)?.remote.sdp : undefined;
    return inDialog ?? this.#invite?.sdp ?? '';
  }

  #finishModify(leg: number, status: number, sdp: string | null): void {
    const dialog = this.#dialog(leg);
    const contact = dialog?.local.contact;
    if (sdp !== null && dialog !== undefined) {
      dialog.local.sdp = sdp;
    }
    const options = sdp === null ? { headers: {} } : withSdp(sdp);
    const headers = { ...options.headers, ...(contact === undefined ? {} : { Contact: contact }) };
    this.#reinvite?.send(sendableStatus(status), { ...options, headers });
    this.#reinvite = null;
  }

  #dialog(leg: number): Dialog | undefined {
    const id =
      leg === 0
        ? this.#call.callerDialogId
        : (this.#call.legs.find((each) => each.no === leg)?.dialogId ?? null);
    return id === null ? undefined : this.#here.dialogs.find(id);
  }
}

/** Where the message came from that made the dialog. */
function sourceOf(dialog: Dialog | undefined): string | null {
  return dialog === undefined
    ? null
    : (dialog.type === 'uas' ? dialog.req : dialog.res).source_address;
}

/** Events a phone could flood with, and that may be missed. */
function isOptional(event: CallEvent): boolean {
  return event.type === 'legRinging' || event.type === 'legProgress' || event.type === 'modify';
}
