/** The part of `rtpengine-client` that call control uses; the package has no types. */
declare module 'rtpengine-client' {
  import type { EventEmitter } from 'node:events';

  export interface NgPlace {
    host: string;
    port: number;
  }

  export type NgReply = {
    result: string;
    sdp?: string;
    state?: string;
    duration?: number;
    'error-reason'?: string;
    calls?: string[];
    owner?: string;
  };

  export class Client extends EventEmitter {
    constructor(options: { timeout: number; localPort?: number; localAddress?: string });
    offer(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    answer(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    delete(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    playMedia(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    stopMedia(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    list(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    ping(place: NgPlace, options: Record<string, unknown>): Promise<NgReply>;
    close(): void;
  }
}
