/** The vocabulary of the call machine: its state, what can happen, what it wants done. */
import type { CallId, CallRecord, Leg, MediaAnchor, TrunkTarget } from '../../domain/call.ts';
import type { Cdr } from '../../domain/cdr.ts';
import type { ErrorCode } from '../../domain/errors.ts';

/**
 * Where the caller stands. `away`: taken over from the record, not seen yet. `waiting`: its
 * INVITE can be answered. `connecting`: the 200 is on its way. `gone`: it gave up.
 */
export type CallerState = 'away' | 'waiting' | 'connecting' | 'connected' | 'gone';

/** A re-INVITE that passes through the call, by the leg that sent it. */
export interface Modification {
  leg: number;
  /** Whose answer is awaited: the media server's, the other party's, the media server's. */
  phase: 'offering' | 'asking' | 'answering';
}

/** A move to another media server: it is asked, then both parties are told at once. */
export type Move = 'offering' | Telling;

export interface Telling {
  /** Its answer is awaited, or what the media server makes of that. */
  device: 'asked' | 'answering' | 'done';
  /** `preparing`: what it is told is not known yet. `waiting`: its INVITE is not answered yet. */
  caller: 'preparing' | 'told' | 'waiting' | 'done';
  /** What the caller was told last. */
  told: string | null;
  /** What it is to be told when it has answered: the device did not say what was assumed. */
  next: string | null;
  /** The caller's answer. */
  heard: string;
}

export interface Call {
  id: CallId;
  state: 'routing' | 'ringing' | 'answered' | 'ended';
  from: string;
  fromName: string;
  to: string;
  hops: number;
  breadth: number;
  startedAt: number;
  answeredAt: number | null;
  deadlineAt: number;
  callerDialogId: string;
  caller: CallerState;
  media: MediaAnchor | null;
  /** The media server was asked for this call and has to be told the end. */
  mediaOpen: boolean;
  legs: Leg[];
  winner: number | null;
  /** The only leg whose early media the caller hears: the first that sent some. */
  earlyLeg: number | null;
  modification: Modification | null;
  move: Move | null;
  /** The trunk the caller came over; null: it is a user. */
  trunk: string | null;
  /** Trunks that are tried when the one that is dialled fails. */
  later: readonly TrunkTarget[];
}

/** What the pure routing decided for a new call. */
export type Route =
  | { kind: 'devices'; uris: readonly string[] }
  /** One after the other, as long as trunks fail. */
  | { kind: 'trunks'; targets: readonly TrunkTarget[] }
  | { kind: 'refuse'; status: number; code: ErrorCode };

export interface NewCall {
  id: CallId;
  from: string;
  fromName: string;
  to: string;
  hops: number;
  breadth: number;
  at: number;
  deadlineAt: number;
  callerDialogId: string;
  trunk: string | null;
  route: Route;
}

/** `at` is the time of the event in Unix milliseconds: machines read no clock. */
export type CallEvent =
  /** The caller's INVITE was delivered again, after a takeover. */
  | { type: 'invite' }
  | { type: 'mediaOffered'; media: MediaAnchor }
  | { type: 'mediaRefused'; status: number; silent: boolean; at: number }
  /** Any first word of a trunk: it is there. */
  | { type: 'legHeard'; leg: number }
  /** None came in time. */
  | { type: 'legSilent'; leg: number; at: number }
  | { type: 'legRinging'; leg: number; status: number }
  | { type: 'legProgress'; leg: number; sdp: string }
  /** The media server translated the early media of the leg. */
  | { type: 'earlyMedia'; leg: number; sdp: string }
  | { type: 'legAnswered'; leg: number; dialogId: string; sdp: string; at: number }
  | { type: 'mediaAnswered'; sdp: string; state?: string | undefined }
  | { type: 'callerConnected' }
  | { type: 'callerLost'; at: number }
  | { type: 'legFailed'; leg: number; status: number; at: number }
  | { type: 'cancelled'; at: number }
  /** `bySystem`: the engine gave the dialog up, nobody hung up. */
  | { type: 'bye'; leg: number; dialogId: string; bySystem: boolean; at: number }
  | { type: 'modify'; leg: number; sdp: string }
  | { type: 'modifyOffered'; sdp: string }
  | { type: 'modifyAccepted'; leg: number; sdp: string }
  | { type: 'modifyAnswered'; sdp: string; state?: string | undefined }
  | { type: 'modifyRefused'; leg: number; status: number; at: number }
  /** The call's media server is down, or its move was not finished. */
  | { type: 'mediaLost' }
  | { type: 'mediaMoved'; media: MediaAnchor }
  /** The session was written down anew. */
  | { type: 'mediaKept'; server: string; state: string }
  /** What was written down is not true any more. */
  | { type: 'mediaStale' }
  /** Another server goes on with the session, under the same address. */
  | { type: 'mediaTaken'; from: string; server: string; ng: string }
  /** For the caller, if the device goes on with what it said last. */
  | { type: 'moveAssumed'; sdp: string }
  | { type: 'moveFailed'; at: number }
  | { type: 'deadline'; at: number }
  /** A sweep found that nothing of the call is alive any more. */
  | { type: 'orphaned'; at: number }
  /** A commit failed: the call cannot go on here. */
  | { type: 'failed'; status: number; at: number };

export type CallEffect =
  | { type: 'commit'; record: CallRecord }
  /** The end: the record goes, the CDR comes, the dialogs named are finished; one entry. */
  | { type: 'commitEnd'; cdr: Cdr; dialogIds: string[] }
  /** The peer hung up a dialog of a call that had ended already. */
  | { type: 'forgetDialog'; dialogId: string }
  | { type: 'offerMedia' }
  | { type: 'dialLeg'; leg: number; uri: string }
  | { type: 'cancelLeg'; leg: number }
  | { type: 'destroyLeg'; leg: number; dialogId: string }
  | { type: 'ringCaller'; status: number; sdp: string | null }
  | { type: 'answerEarly'; leg: number; sdp: string }
  | { type: 'answerMedia'; leg: number; sdp: string }
  | { type: 'answerCaller'; sdp: string }
  | { type: 'rejectCaller'; status: number }
  | { type: 'deleteMedia' }
  | { type: 'moveMedia' }
  /** Asks the new server what the caller is told, without waiting for the device. */
  | { type: 'assumeAnswer'; leg: number }
  /** Who is on hold hears music from the server that took the session over. */
  | { type: 'resumeMusic' }
  /** The caller's answer to its new media server; it may have chosen new keys. */
  | { type: 'renewMedia'; leg: number; sdp: string }
  | { type: 'modifyOffer'; leg: number; sdp: string }
  | { type: 'modifyLeg'; leg: number; sdp: string }
  | { type: 'modifyAnswer'; leg: number; sdp: string }
  | { type: 'modifyAccept'; leg: number; sdp: string }
  | { type: 'modifyReject'; leg: number; status: number };

export interface Step {
  call: Call;
  effects: CallEffect[];
}
