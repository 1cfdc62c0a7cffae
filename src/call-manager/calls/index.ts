/**
 * The calls of the cluster, live on the leader.
 *
 * # Layout
 * - `machine.ts`, `answering.ts`, `modify.ts`, `move.ts`, `ending.ts`, `types.ts`: what a call
 *   does (pure)
 * - `effects.ts`: carries it out; `caller.ts`, `device.ts`, `reinvite.ts`, `hang-up.ts`: its SIP
 *   sides;
 *   `media.ts`: its media session
 * - `failover.ts`, `trunk-leg.ts`: from one trunk to the next, and what is said to them (pure)
 * - `intake.ts`: reads a new INVITE
 * - `sweep.ts`: finds orphans
 *
 * Owner of: the map of live calls. It is a view of `call:*`: built when this node begins to
 * lead, dropped when it ends to, and the same code runs for a fresh and for a repeated INVITE.
 */
import { parseCallRecord } from '../../domain/call.ts';
import { statusOfResult } from '../../domain/cdr.ts';
import { type ErrorCode, errorTable, PbxError } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import type { Binding } from '../../domain/registration.ts';
import type { Trunk } from '../../domain/trunk.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { DialogHandler, DialogOwner } from '../../sip/rehydrate.ts';
import type { SipRequest, SipResponse } from '../../sip/srf.ts';
import type { Directory } from '../directory.ts';
import type { Push } from '../push.ts';
import { planOutbound } from '../routing/outbound.ts';
import { decideRoute } from '../routing/route.ts';
import type { TrunkBook } from '../trunks/book.ts';
import { readTrunkCall } from '../trunks/incoming.ts';
import { rejectInvite } from './caller.ts';
import { type CallSurroundings, LiveCall } from './effects.ts';
import { isSilent, usesOf } from './failover.ts';
import { hangUp } from './hang-up.ts';
import { type Intake, readInvite, verifiedUser } from './intake.ts';
import { resumeCall, startCall } from './machine.ts';
import { Sweep } from './sweep.ts';
import type { OutgoingTrunk } from './trunk-leg.ts';
import type { Route } from './types.ts';

export interface RegistryOptions
  extends Omit<CallSurroundings, 'ended' | 'lost' | 'outgoing' | 'credentials'> {
  directory: Directory;
  trunks: TrunkBook;
  push: Push;
  answerTimeoutMs: number;
  /** Whether this media server has lost its lease. */
  isDown(server: string): boolean;
  /** Whether its calls are about to go on at another one, under the same address. */
  isTaken(server: string): boolean;
  /** Whether the store says that this node leads: asked when the engine is ahead of it. */
  leads(): number | null;
}

export class CallRegistry implements DialogHandler {
  readonly #options: RegistryOptions;
  readonly #here: CallSurroundings;
  readonly #calls = new Map<string, LiveCall>();
  /** Calls whose media server lives and has lost their session. */
  readonly #lostSessions = new Set<string>();
  readonly #sweep = new Sweep();
  /** INVITEs that wait for devices to wake. */
  readonly #waking = new Map<string, SipRequest>();
  readonly counts = { started: 0, ended: 0, lost: 0, resumed: 0, orphaned: 0 };
  readonly refused = new Map<ErrorCode, number>();
  #term: number | null = null;
  #leadingSince = 0;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#here = {
      ...options,
      outgoing: (name) => this.#outgoing(name),
      credentials: (name) => this.#credentials(name),
      ended: (id) => {
        this.#forget(id);
        this.counts.ended += 1;
      },
      lost: (id) => {
        this.#forget(id);
        this.counts.lost += 1;
      },
    };
  }

  get size(): number {
    return this.#calls.size;
  }

  /** The calls of now. */
  live(): Iterable<LiveCall> {
    return this.#calls.values();
  }

  /** Whether there is a call of this id. */
  has(id: string): boolean {
    return this.#calls.has(id);
  }

  get leading(): boolean {
    return this.#term !== null;
  }

  /** Takes the calls over as their records tell them. */
  lead(term: number): void {
    if (this.#term === term) {
      return;
    }
    this.#drop();
    this.#term = term;
    this.#leadingSince = this.#options.now();
    this.#options.dialogs.lead();
    let after: string | null = null;
    for (;;) {
      const page = this.#options.store.scan('call:', after, limits.listedMax);
      for (const { key, value } of page) {
        this.#resume(key, value);
        after = key;
      }
      if (page.length < limits.listedMax) {
        break;
      }
    }
    this.#options.log.info({ term, calls: this.#calls.size }, 'calls taken over');
  }

  /** Another node leads: its replica is ours, our live state is nothing. */
  follow(term: number): void {
    if (this.#term !== null && term >= this.#term) {
      this.#drop();
      this.#options.dialogs.follow();
      this.#options.log.info({ term }, 'calls handed to another node');
    }
  }

  /** The engine's connection is gone, and every answer that was awaited on it. */
  suspend(): void {
    this.#drop();
  }

  #drop(): void {
    for (const live of this.#calls.values()) {
      live.drop();
    }
    this.#calls.clear();
    this.#waking.clear();
    this.#sweep.reset();
    this.#term = null;
  }

  #resume(key: string, value: string): void {
    const record = parseCallRecord(value);
    if (record === null) {
      this.#options.log.error({ key }, 'call record of another version is left alone');
      return;
    }
    const live = new LiveCall(this.#here, resumeCall(record), true);
    this.#calls.set(record.id, live);
    this.counts.resumed += 1;
    const { elsewhere, now } = this.#options;
    if (elsewhere !== null && record.state === 'ringing') {
      // Nobody delivers its INVITE again, and nothing leads to the legs that ring.
      const status = errorTable.PBX_NO_ANSWER.sipStatus;
      live.dispatch({ type: 'failed', status, at: now() });
      elsewhere.refuseUnseen(record.id);
    }
    this.#reconnect(live);
  }

  /** A taken over call talks when the caller's dialog is there. */
  #reconnect(live: LiveCall): void {
    const { state, caller, callerDialogId } = live.call;
    if (state === 'answered' && caller === 'away' && this.#options.dialogs.has(callerDialogId)) {
      live.dispatch({ type: 'callerConnected' });
    }
  }

  /** The engine may deliver before the store's own event arrives here: the store knows. */
  #catchUp(): void {
    const term = this.#term === null ? this.#options.leads() : null;
    if (term !== null) {
      this.lead(term);
    }
  }

  onInvite(req: SipRequest, res: SipResponse): void {
    this.#catchUp();
    const live = this.#calls.get(req.stackTxnId);
    if (live !== undefined) {
      live.attachInvite(req, res);
      live.dispatch({ type: 'invite' });
      return;
    }
    const isFull = (trunk: Trunk) => this.usedBy(trunk.name) >= trunk.channelsMax;
    const { elsewhere, trunks } = this.#options;
    const user = elsewhere === null ? verifiedUser(req) : elsewhere.userOf(req);
    const intake = readInvite(req, user, (one) => readTrunkCall(one, trunks, isFull));
    if (!intake.ok) {
      this.#refuse(res, intake.error);
      return;
    }
    if (this.#calls.size >= limits.callsMax || this.#term === null) {
      const code = this.#term === null ? 'PBX_STORE_UNAVAILABLE' : 'PBX_CALL_LIMIT';
      this.#refuse(res, new PbxError(code));
      return;
    }
    const past = this.#pastResult(intake.value.id);
    if (past !== null) {
      rejectInvite(res, statusOfResult(past));
      return;
    }
    this.#startAwake(intake.value, req, res);
  }

  /** Wakes devices that sleep first; meanwhile the call may be taken back or delivered anew. */
  #startAwake(intake: Intake, req: SipRequest, res: SipResponse): void {
    const { push } = this.#options;
    const { id, to, from } = intake;
    const devices = this.#devices(intake);
    if (!push.needs(devices)) {
      this.#start(intake, devices, req, res);
      return;
    }
    this.#waking.set(id, req);
    req.on('cancel', () => this.#waking.delete(id));
    void push.wake(to, from, id).then(() => {
      if (this.#waking.get(id) === req) {
        this.#waking.delete(id);
        this.#start(intake, this.#devices(intake), req, res);
      }
    });
  }

  #devices({ to, instance }: Intake): Binding[] {
    const { directory, now } = this.#options;
    const all = directory.devices(to, now());
    const wanted = instance?.toLowerCase();
    return all.filter((one) => wanted === undefined || one.instance?.toLowerCase() === wanted);
  }

  /** An INVITE delivered again may be of a call whose end was committed, but not told. */
  #pastResult(id: string) {
    const { now, directory } = this.#options;
    const recent = now() - this.#leadingSince < limits.redeliveryWindowMs;
    return recent ? directory.resultOf(id) : null;
  }

  #start(wanted: Intake, bindings: Binding[], req: SipRequest, res: SipResponse): void {
    const { directory, now, answerTimeoutMs } = this.#options;
    const at = now();
    const { instance, ...intake } = wanted;
    const { from, to, trunk, breadth } = intake;
    const known = bindings.length > 0 || directory.displayName(to) !== null;
    const outside = known ? null : this.#outside(to, at);
    const user = trunk === null ? from : null;
    const route = decideRoute({ from: user, to, known, bindings, outside, breadth });
    if (route.kind === 'refuse') {
      this.#countRefusal(route.code);
    }
    const fromName = intake.fromName ?? directory.displayName(from) ?? '';
    const deadlineAt = at + answerTimeoutMs;
    const first = startCall({ ...intake, fromName, at, deadlineAt, route });
    // The INVITE first: the machine's effects may use it at once.
    const live = new LiveCall(this.#here, { call: first.call, effects: [] }, false);
    this.#calls.set(intake.id, live);
    this.counts.started += 1;
    live.attachInvite(req, res);
    live.begin(first.effects);
  }

  /** Calls that a trunk carries now: counted where they are, so that no count is ever wrong. */
  usedBy(trunk: string): number {
    let uses = 0;
    for (const { call } of this.#calls.values()) {
      uses += usesOf(call, trunk);
    }
    return uses;
  }

  #outside(number: string, at: number): Route | null {
    const { trunks } = this.#options;
    const all = trunks.trunks();
    return planOutbound({
      number,
      routes: trunks.outbound(),
      trunks: all,
      used: (name) => this.usedBy(name),
      isFailing: (name) => all.some((one) => one.name === name && trunks.isFailing(one, at)),
    });
  }

  /** A trunk for a leg that is counted already; null: it is full, disabled or gone. */
  #outgoing(name: string): OutgoingTrunk | null {
    const { trunks } = this.#options;
    const trunk = trunks.trunk(name);
    if (trunk === null || !trunk.enabled || this.usedBy(name) > trunk.channelsMax) {
      this.#countRefusal(trunk?.enabled === true ? 'PBX_TRUNK_FULL' : 'PBX_TRUNK_NONE');
      return null;
    }
    return { trunk, credentials: trunks.credentials(trunk) };
  }

  #credentials(name: string): Credentials | null {
    const { trunks } = this.#options;
    const trunk = trunks.trunk(name);
    return trunk === null ? null : trunks.credentials(trunk);
  }

  #countRefusal(code: ErrorCode): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
  }

  #refuse(res: SipResponse, error: PbxError): void {
    this.#countRefusal(error.code);
    this.#options.log.info({ code: error.code, detail: error.message }, 'call refused');
    rejectInvite(res, error.sipStatus);
  }

  onBye(owner: DialogOwner, dialogId: string, bySystem: boolean): void {
    this.#catchUp();
    const live = this.#calls.get(owner.callId);
    if (live !== undefined) {
      const { now } = this.#options;
      live.dispatch({ type: 'bye', leg: owner.leg, dialogId, bySystem, at: now() });
    } else if (this.#term !== null) {
      const { store, log } = this.#options;
      store.execute(['DEL', this.#options.dialogs.keyOf(dialogId)]).catch((error: unknown) => {
        log.debug({ error, dialog: dialogId }, 'an ended dialog was not deleted');
      });
    }
  }

  onModify(owner: DialogOwner, req: SipRequest, res: SipResponse): void {
    this.#catchUp();
    const live = this.#calls.get(owner.callId);
    if (live === undefined) {
      res.send(481);
      return;
    }
    this.#reconnect(live);
    live.modify(owner.leg, req, res);
  }

  onPass(owner: DialogOwner, req: SipRequest, res: SipResponse): void {
    this.#catchUp();
    const live = this.#calls.get(owner.callId);
    if (live === undefined) {
      res.send(481);
    } else {
      live.pass(owner.leg, req, res);
    }
  }

  /** Fires deadlines; they are absolute and in the records, so a takeover moves none. */
  tick(): void {
    const at = this.#options.now();
    let moves: number = limits.movesPerTick;
    for (const live of this.#calls.values()) {
      const { state, deadlineAt } = live.call;
      if ((state === 'routing' || state === 'ringing') && deadlineAt <= at) {
        live.dispatch({ type: 'deadline', at });
      }
      this.#leaveSilentTrunk(live, at);
      if (moves > 0 && this.#needsMove(live)) {
        moves -= 1;
        this.#lostSessions.delete(live.call.id);
        live.moveMedia(at);
      }
    }
  }

  /** After a takeover a trunk has the same time again: it is only being asked anew. */
  #leaveSilentTrunk(live: LiveCall, at: number): void {
    const since = at - this.#leadingSince;
    const leg = live.call.legs.at(-1);
    if (leg?.trunk !== undefined && isSilent(live.call, leg, at) && since > limits.trunkSilenceMs) {
      this.#options.trunks.wasSilent(leg.trunk, at);
      live.dispatch({ type: 'legSilent', leg: leg.no, at });
    }
  }

  #needsMove({ call }: LiveCall): boolean {
    const { media, state, caller, move } = call;
    const talking = state === 'answered' && caller === 'connected';
    const idle = talking && media !== null && move === null;
    const { isDown, isTaken } = this.#options;
    const isLost = this.#lostSessions.has(call.id);
    return idle && (media.moving || isLost || isDown(media.server)) && !isTaken(media.server);
  }

  /** A media server that lives has lost the session of a call: that is moved, too. */
  sessionLost(id: string, server: string): void {
    const live = this.#calls.get(id);
    if (live?.call.media?.server === server) {
      this.#lostSessions.add(live.call.id);
    }
  }

  #forget(id: string): void {
    this.#calls.delete(id);
    this.#lostSessions.delete(id);
  }

  /** Ends what has nobody left; see `sweep.ts`. */
  sweep(): void {
    if (this.#term === null) {
      return;
    }
    const { dialogs, log, now } = this.#options;
    for (const live of this.#calls.values()) {
      this.#reconnect(live);
    }
    const orphans = this.#sweep.run(this.#calls, dialogs);
    for (const live of orphans.calls) {
      log.warn({ call: live.call.id }, 'call has nobody left');
      this.counts.orphaned += 1;
      this.#options.elsewhere?.refuseUnseen(live.call.id);
      live.dispatch({ type: 'orphaned', at: now() });
    }
    for (const dialogId of orphans.dialogIds) {
      const dialog = dialogs.find(dialogId);
      if (dialog === undefined) {
        dialogs.disown(dialogId);
      } else {
        log.warn({ dialog: dialogId }, 'dialog of no call is ended');
        hangUp(dialogs, dialog, log);
      }
    }
  }
}
