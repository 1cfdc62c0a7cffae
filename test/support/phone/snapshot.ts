/** What a scripted phone says of its call. */
export type CallState = 'idle' | 'calling' | 'ringing' | 'up' | 'ended';

export interface Snapshot {
  state: CallState;
  /** Final status of the INVITE, 0 before. */
  status: number;
  endedBy: '' | 'local' | 'remote' | 'cancel';
  /** The peer put us on hold. */
  held: boolean;
  /** Requests received, copies included. */
  requests: Record<string, number>;
  /** Contact URI. */
  peer: string;
  /** Route set. */
  routes: string[];
}
