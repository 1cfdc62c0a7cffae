/**
 * Dialogs on every node. The engine tells each confirmed dialog as the log has it; it is kept like
 * that. The `Srf.Dialog` is built when somebody needs it: a phone that sends in it, or its call.
 * So a standby spends nothing on calls that end before it leads, and a takeover builds nothing but
 * what it uses. On the leader the live object exists already and wins.
 * Owner of: which leg of which call a dialog is.
 *
 *   dialogConfirmed ---> kept ---> find, take ---> build ---> srf
 *                        adopt: the live object is there
 */
import type { Socket } from 'node:net';
import { type CallId, legKey, parseCallId, parseLegKey } from '../domain/call.ts';
import type { Log } from '../domain/log.ts';
import type { DialogView, SipEvent } from '../native/index.ts';
import {
  type Agent,
  type Dialog,
  lineOf,
  type MessageMeta,
  type SipRequest,
  type SipResponse,
  Srf,
  type SrfInstance,
} from './srf.ts';

/** The leg a dialog carries; leg 0 is the caller's. */
export interface DialogOwner {
  callId: CallId;
  leg: number;
}

/** Requests inside dialogs, for whoever keeps the calls. */
export interface DialogHandler {
  onBye(owner: DialogOwner, dialogId: string, bySystem: boolean): void;
  /** re-INVITE or UPDATE with a session description. */
  onModify(owner: DialogOwner, req: SipRequest, res: SipResponse): void;
  /** INFO and MESSAGE, which pass through unchanged. */
  onPass(owner: DialogOwner, req: SipRequest, res: SipResponse): void;
}

/** Who stores dialogs where the engine does not: one that is elsewhere. */
export interface DialogKeeper {
  /** `createUAC` or `createUAS` has made one here. */
  began(view: DialogView): void;
  /** We hung up, and the other party knows or never will. */
  ended(dialogId: string): void;
}

export class DialogReplica {
  readonly #srf: SrfInstance;
  readonly #handler: DialogHandler;
  readonly #log: Log;
  readonly #keeper: DialogKeeper | null;
  readonly #owners = new Map<string, DialogOwner>();
  readonly #unbuilt = new Map<string, DialogView>();
  #leading = false;
  #connected = false;

  constructor(
    srf: SrfInstance,
    handler: DialogHandler,
    log: Log,
    keeper: DialogKeeper | null = null,
  ) {
    this.#srf = srf;
    this.#handler = handler;
    this.#log = log;
    this.#keeper = keeper;
  }

  /** Under which key the store has a dialog. */
  keyOf(dialogId: string): string {
    return this.#keeper === null ? `sip:dialog:${dialogId}` : dialogKey(dialogId);
  }

  /** Dialogs known, built or not. */
  get size(): number {
    return this.#owners.size;
  }

  /** Those that nobody has needed yet. */
  get unbuilt(): number {
    return this.#unbuilt.size;
  }

  entries(): IterableIterator<[string, DialogOwner]> {
    return this.#owners.entries();
  }

  has(dialogId: string): boolean {
    return this.#owners.has(dialogId);
  }

  /** Dialog of a leg, built on demand. */
  find(dialogId: string): Dialog | undefined {
    const view = this.#unbuilt.get(dialogId);
    if (view !== undefined && this.#connected) {
      this.#unbuilt.delete(dialogId);
      if (!this.#srf.findDialogById(dialogId)) {
        this.#build(view);
      }
    }
    return this.#srf.findDialogById(dialogId);
  }

  /** Gives a request to its dialog if that was not built yet; false when it is none of those. */
  take(req: SipRequest, res: SipResponse, next: () => void): boolean {
    const dialog = this.#unbuilt.has(req.stackDialogId) ? this.find(req.stackDialogId) : undefined;
    dialog?.handle(req, res, next);
    return dialog !== undefined;
  }

  /** Forgets a dialog that exists nowhere any more. */
  disown(dialogId: string): void {
    this.#owners.delete(dialogId);
    this.#unbuilt.delete(dialogId);
  }

  /** Takes a live dialog that `createUAC` or `createUAS` has just made. */
  adopt(dialog: Dialog, owner: DialogOwner): void {
    this.#owners.set(dialog.id, owner);
    this.#unbuilt.delete(dialog.id);
    this.#wire(dialog, owner);
    this.#keeper?.began(viewOf(dialog, owner));
  }

  /** Our BYE was answered, or could not be sent. */
  hungUp(dialogId: string): void {
    this.#keeper?.ended(dialogId);
  }

  apply(events: readonly SipEvent[]): void {
    for (const event of events) {
      if (event.type === 'dialogConfirmed') {
        this.#confirmed(event.dialog);
      } else if (event.type === 'dialogRemoved') {
        this.#removed(event.id);
      }
    }
  }

  lead(): void {
    this.#leading = true;
  }

  follow(): void {
    this.#leading = false;
  }

  /** The connection is there (again): old dialog objects move to the new socket. */
  connected(): void {
    this.#connected = true;
    const line = lineOf(this.#srf.app.client);
    if (line === null) {
      return;
    }
    for (const dialogId of this.#owners.keys()) {
      const dialog = this.#srf.findDialogById(dialogId);
      if (dialog !== undefined) {
        Object.assign(dialog.req, line);
        Object.assign(dialog.res, line);
        dialog.agent = line.agent;
      }
    }
  }

  disconnected(): void {
    this.#connected = false;
  }

  #confirmed(view: DialogView): void {
    const owner = ownerOf(view);
    if (owner === null) {
      this.#log.warn({ dialog: view.id, leg: view.leg }, 'dialog belongs to no leg');
      return;
    }
    this.#owners.set(view.id, owner);
    const live = this.#srf.findDialogById(view.id);
    if (this.#leading && live !== undefined) {
      return;
    }
    // Left from when this node led: another one has changed the dialog since.
    this.drop(live);
    this.#unbuilt.set(view.id, view);
  }

  #removed(id: string): void {
    this.#owners.delete(id);
    this.#unbuilt.delete(id);
    // On the leader the live object goes by itself, when the answer to its BYE has come.
    if (!this.#leading) {
      this.drop(this.#srf.findDialogById(id));
    }
  }

  /** Ends a live object: nothing that comes for it is heard any more. */
  drop(dialog: Dialog | undefined): void {
    if (dialog !== undefined) {
      this.#srf.removeDialog(dialog);
      dialog.removeAllListeners();
    }
  }

  #build(view: DialogView): void {
    const owner = this.#owners.get(view.id);
    const line = lineOf(this.#srf.app.client);
    if (owner === undefined || line === null) {
      return;
    }
    try {
      const dialog = rehydrate(this.#srf, line.agent, line.socket, view);
      this.#srf.addDialog(dialog);
      this.#wire(dialog, owner);
    } catch (error) {
      // The phone's message may be odd in a way only this parser minds.
      this.#log.error({ dialog: view.id, call: owner.callId, error }, 'dialog cannot be rebuilt');
    }
  }

  #wire(dialog: Dialog, owner: DialogOwner): void {
    const { id } = dialog;
    const handler = this.#handler;
    dialog.on('destroy', (req: SipRequest) => {
      handler.onBye(owner, id, req.source === 'application');
    });
    dialog.on('modify', (req: SipRequest, res: SipResponse) => handler.onModify(owner, req, res));
    dialog.on('update', (req: SipRequest, res: SipResponse) => {
      if (req.body) {
        handler.onModify(owner, req, res);
      } else {
        res.send(200);
      }
    });
    for (const method of ['info', 'message']) {
      dialog.on(method, (req: SipRequest, res: SipResponse) => handler.onPass(owner, req, res));
    }
    for (const method of ['refer', 'notify', 'publish']) {
      dialog.on(method, (_req: SipRequest, res: SipResponse) => {
        res.send(405, { headers: { Allow: allowedMethods } });
      });
    }
  }
}

/** Methods a phone may use within a call. */
export const allowedMethods = 'INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, MESSAGE';

function ownerOf(view: DialogView): DialogOwner | null {
  if (view.role === 'uas') {
    const callId = parseCallId(view.transactionId);
    return callId === null ? null : { callId, leg: 0 };
  }
  const key = view.leg === null ? null : parseLegKey(view.leg);
  return key === null ? null : { callId: key.id, leg: key.no };
}

/** Key of a dialog that call control stores by itself. */
export function dialogKey(dialogId: string): string {
  return `dialog:${dialogId}`;
}

/** What it takes to build a live dialog again on another node. */
function viewOf(dialog: Dialog, { callId, leg }: DialogOwner): DialogView {
  const { id, type: role, req, res } = dialog;
  const isUas = role === 'uas';
  const { source_address: address, source_port: port, protocol } = isUas ? req : res;
  return {
    ...{ id, role, leg: isUas ? null : legKey(callId, leg), transactionId: req.stackTxnId },
    request: req.raw ?? '',
    response: isUas ? answerOf(dialog) : (res.msg.raw ?? ''),
    ...{ protocol: protocol || 'udp', address, port, endedRemotely: false },
  };
}

/** Our 2xx as far as a dialog needs it: drachtio-srf keeps its parts, not its text. */
function answerOf({ req, sip, local }: Dialog): string {
  return [
    'SIP/2.0 200 OK',
    `From: ${req.get('From')}`,
    `To: ${req.get('To')};tag=${sip.localTag}`,
    `Call-ID: ${sip.callId}`,
    `CSeq: ${req.get('CSeq')}`,
    `Contact: ${local.contact ?? ''}`,
    'Content-Type: application/sdp',
    `Content-Length: ${Buffer.byteLength(local.sdp)}`,
    `\r\n${local.sdp}`,
  ].join('\r\n');
}

/** Builds the dialog object drachtio-srf would have made, from the two messages that made it. */
export function rehydrate(
  srf: SrfInstance,
  agent: Agent,
  socket: Socket,
  view: DialogView,
): Dialog {
  const peer = { address: view.address, port: String(view.port), protocol: view.protocol };
  const ids = { time: '', transactionId: view.transactionId, dialogId: view.id };
  const inward: MessageMeta = { source: 'network', ...peer, ...ids };
  const outward: MessageMeta = { source: 'application', ...peer, ...ids };
  const isUas = view.role === 'uas';
  const req = new Srf.SipRequest(new Srf.SipMessage(view.request), isUas ? inward : outward);
  const answer = new Srf.SipMessage(view.response);
  const res = new Srf.SipResponse(agent);
  if (!isUas) {
    res.msg = answer;
  }
  req.res = res;
  res.req = req;
  req.agent = agent;
  res.agent = agent;
  req.socket = socket;
  res.socket = socket;
  res.meta = isUas ? outward : inward;
  return new Srf.Dialog(srf, view.role, isUas ? { req, res, sent: answer } : { req, res });
}
