/**
 * Dialogs on every node. The engine tells each confirmed dialog as the log has it; a standby
 * builds the `Srf.Dialog` at once, so a takeover has nothing to build. On the leader the live
 * object exists already and wins. Owner of: which leg of which call a dialog is.
 *
 *   dialogConfirmed --standby--> build --> srf
 *                   --leader---> wait: the live object comes, or the next sweep builds it
 */
import type { Socket } from 'node:net';
import { type CallId, parseCallId, parseLegKey } from '../domain/call.ts';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import type { DialogView, SipEvent } from '../native/index.ts';
import {
  type Agent,
  type Dialog,
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

export class DialogReplica {
  readonly #srf: SrfInstance;
  readonly #handler: DialogHandler;
  readonly #log: Log;
  readonly #owners = new Map<string, DialogOwner>();
  readonly #unbuilt = new Map<string, DialogView>();
  #leading = false;
  #connected = false;
  #building = false;

  constructor(srf: SrfInstance, handler: DialogHandler, log: Log) {
    this.#srf = srf;
    this.#handler = handler;
    this.#log = log;
  }

  /** Dialogs known, built or not. */
  get size(): number {
    return this.#owners.size;
  }

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
    if (view !== undefined && this.#connected && !this.#srf.findDialogById(dialogId)) {
      this.#build(view);
    }
    return this.#srf.findDialogById(dialogId);
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
  }

  apply(events: readonly SipEvent[]): void {
    for (const event of events) {
      if (event.type === 'dialogConfirmed') {
        this.#confirmed(event.dialog);
      } else if (event.type === 'dialogRemoved') {
        this.#removed(event.id);
      }
    }
    this.#schedule();
  }

  lead(): void {
    this.#leading = true;
  }

  follow(): void {
    this.#leading = false;
    this.#schedule();
  }

  /** The connection is there (again): old dialog objects move to the new socket. */
  connected(): void {
    this.#connected = true;
    const agent = this.#srf.app.client;
    const socket = agent?.mapServer.keys().next().value;
    if (socket !== undefined) {
      for (const dialogId of this.#owners.keys()) {
        const dialog = this.#srf.findDialogById(dialogId);
        if (dialog !== undefined) {
          dialog.req.socket = socket;
          dialog.res.socket = socket;
        }
      }
    }
    this.#schedule();
  }

  disconnected(): void {
    this.#connected = false;
  }

  /** On the leader: builds what no live object turned up for. */
  settle(): void {
    for (const [id, view] of this.#unbuilt) {
      if (!this.#connected) {
        return;
      }
      if (!this.#srf.findDialogById(id)) {
        this.#build(view);
      }
      this.#unbuilt.delete(id);
    }
  }

  #confirmed(view: DialogView): void {
    const owner = ownerOf(view);
    if (owner === null) {
      this.#log.warn({ dialog: view.id, leg: view.leg }, 'dialog belongs to no leg');
      return;
    }
    this.#owners.set(view.id, owner);
    if (this.#leading && this.#srf.findDialogById(view.id)) {
      return;
    }
    this.#unbuilt.set(view.id, view);
  }

  #removed(id: string): void {
    this.#owners.delete(id);
    this.#unbuilt.delete(id);
    const dialog = this.#srf.findDialogById(id);
    // On the leader the live object goes by itself, when the answer to its BYE has come.
    if (dialog !== undefined && !this.#leading) {
      this.#srf.removeDialog(dialog);
      dialog.removeAllListeners();
    }
  }

  /** Standbys build a few at a time, so that the event loop never stops for long. */
  #schedule(): void {
    if (this.#building || this.#leading || !this.#connected || this.#unbuilt.size === 0) {
      return;
    }
    this.#building = true;
    setImmediate(() => {
      this.#building = false;
      let budget: number = limits.dialogsBuiltPerTurn;
      for (const [id, view] of this.#unbuilt) {
        if (this.#leading || !this.#connected || budget === 0) {
          break;
        }
        this.#build(view);
        this.#unbuilt.delete(id);
        budget -= 1;
      }
      this.#schedule();
    });
  }

  #build(view: DialogView): void {
    const owner = this.#owners.get(view.id);
    const agent = this.#srf.app.client;
    const socket = agent?.mapServer.keys().next().value;
    if (owner === undefined || agent === undefined || socket === undefined) {
      return;
    }
    try {
      const dialog = rehydrate(this.#srf, agent, socket, view);
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
