/**
 * The part of drachtio-srf that raftpbx uses, typed: the package's own declarations lack the
 * constructors that rehydration needs and the callback forms that run before the next message.
 */
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import Untyped from 'drachtio-srf';
import statusNames from 'sip-status';

export interface MessageMeta {
  source: string;
  address: string;
  port: string;
  protocol: string;
  time: string;
  transactionId: string;
  dialogId: string;
}

export interface SipMessage {
  body?: string;
  /** As it was received. */
  raw?: string;
  get(name: string): string | undefined;
  has(name: string): boolean;
}

export interface SipRequest extends SipMessage, EventEmitter {
  method: string;
  uri: string;
  source: string;
  source_address: string;
  source_port: number;
  protocol: string;
  /** `address:port` where it arrived. */
  receivedOn?: string;
  stackTxnId: string;
  stackDialogId: string;
  isNewInvite: boolean;
  res: SipResponse;
  agent: Agent;
  socket: Socket;
  cancel(options: object, callback: (error: unknown) => void): void;
}

export interface SendOptions {
  headers?: Record<string, string>;
  body?: string;
}

export interface SipResponse extends SipMessage {
  status: number;
  reason: string;
  source_address: string;
  source_port: number;
  protocol: string;
  req: SipRequest;
  agent: Agent;
  socket: Socket;
  meta: MessageMeta;
  msg: SipMessage;
  finalResponseSent: boolean;
  send(status: number, options?: SendOptions): void;
  send(status: number, reason: string, options?: SendOptions): void;
}

/** The client of the drachtio connection inside Srf. */
export interface Agent extends EventEmitter {
  mapServer: Map<Socket, unknown>;
  disconnect(): void;
  /** A message as it stands; `stackTxnId` is the transaction it answers. */
  sendMessage(socket: Socket, message: string, options: { stackTxnId: string }): void;
}

export interface Dialog extends EventEmitter {
  readonly id: string;
  type: 'uas' | 'uac';
  connected: boolean;
  agent: Agent;
  req: SipRequest;
  res: SipResponse;
  sip: { callId: string; localTag: string };
  local: { uri: string; sdp: string; contact?: string };
  remote: { uri: string; sdp: string };
  /** What `Srf` calls with a request in the dialog. */
  handle(req: SipRequest, res: SipResponse, next: () => void): void;
  destroy(options: object, callback: (error: unknown) => void): void;
  request(
    options: { method: string; headers?: Record<string, string>; body?: string },
    callback: (error: (Error & { code?: string }) | null, response: SipResponse) => void,
  ): void;
}

/** The connection of a client to its engine; null while there is none. */
export function lineOf(agent: Agent | undefined): { agent: Agent; socket: Socket } | null {
  const socket = agent?.mapServer.keys().next().value;
  return agent === undefined || socket === undefined ? null : { agent, socket };
}

/** What `createUAC` fails with: a final status, or an error without one. */
export interface CallFailure {
  status?: number;
  message?: string;
  /** The refusal. */
  res?: SipResponse;
}

export interface SrfInstance extends EventEmitter {
  app: { client?: Agent };
  connect(options: object): void;
  disconnect(): void;
  use(handler: (req: SipRequest, res: SipResponse, next: () => void) => void): void;
  invite(handler: (req: SipRequest, res: SipResponse) => void): void;
  register(handler: (req: SipRequest, res: SipResponse) => void): void;
  options(handler: (req: SipRequest, res: SipResponse) => void): void;
  findDialogById(id: string): Dialog | undefined;
  addDialog(dialog: Dialog): void;
  removeDialog(dialog: Dialog): void;
  createUAC(
    uri: string,
    options: { headers: Record<string, string>; localSdp: string; proxy?: string },
    progress: {
      cbRequest(error: unknown, request?: SipRequest): void;
      cbProvisional(response: SipResponse): void;
    },
    callback: (error: CallFailure | null, dialog?: Dialog) => void,
  ): void;
  /** A request outside any dialog; its answers come as `response` of the request. */
  request(
    uri: string,
    options: { method: string; headers: Record<string, string>; proxy?: string },
    callback: (error: Error | null, request?: SipRequest) => void,
  ): void;
  createUAS(
    req: SipRequest,
    res: SipResponse,
    options: { localSdp: string; headers?: Record<string, string> },
    callback: (error: unknown, dialog?: Dialog) => void,
  ): void;
}

interface SrfClass {
  new (): SrfInstance;
  Dialog: new (
    srf: SrfInstance,
    type: 'uas' | 'uac',
    parts: { req: SipRequest; res: SipResponse; sent?: SipMessage },
  ) => Dialog;
  SipMessage: new (raw: string) => SipMessage;
  SipRequest: new (message: SipMessage, meta: MessageMeta) => SipRequest;
  SipResponse: new (agent: Agent) => SipResponse;
  parseUri(uri: string): { user?: string; host?: string } | undefined;
}

export const Srf = Untyped as unknown as SrfClass;

/** Statuses that drachtio-srf would refuse to send because its table of names lacks them. */
const unnamed = { 440: 'Max-Breadth Exceeded', 469: 'Bad Info Package' };
Object.assign(statusNames, unnamed);
