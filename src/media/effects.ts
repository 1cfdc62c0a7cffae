/** Runs the media engine of this server and keeps its lease. */
import type { Redis } from 'ioredis';
import { connectStore, ServerLease } from '../cluster/index.ts';
import type { RoleHandle } from '../domain/server.ts';
import { MediaEngine, type MediaEvent } from '../native/index.ts';
import type { MediaServerApi } from './api.ts';
import type { MediaServerContext } from './index.ts';
import { capacityOf, type MediaState, mediaMetrics, startedState, stepMedia } from './machine.ts';

export class MediaServer implements RoleHandle, MediaServerApi {
  readonly #context: MediaServerContext;
  readonly #engine: MediaEngine;
  readonly #store: Redis;
  readonly #lease: ServerLease;
  #state: MediaState = startedState;

  constructor(context: MediaServerContext) {
    const { name, roles, address, ports, ngListen, version, log } = context;
    this.#context = context;
    this.#engine = MediaEngine.start(
      {
        interfaces: [...(context.interfaces ?? [{ local: address, advertised: null }])],
        portFrom: ports.from,
        portTo: ports.to,
        workers: context.workers ?? 1,
        ngListen,
        ngTcpListen: context.ngTcpListen ?? null,
        mediaTimeoutS: context.timeoutS ?? 60,
        recordings: context.recordings ?? null,
        prompts: context.prompts ?? null,
        fastPath: context.fastPath !== 'off',
        recordingFormat: context.recordingFormat ?? 'wav',
      },
      (events) => this.#apply(events),
    );
    this.#store = connectStore({ ...context.store, log });
    const ng = this.#engine.ngAddress() ?? ngListen;
    const capacity = capacityOf(ports);
    this.#lease = new ServerLease({
      server: { name, roles: [...roles], address, ng, capacity, version },
      load: () => this.#engine.stats().sessions,
      execute: ([command, ...args]) => this.#store.call(String(command), ...args),
      log,
    });
    this.#lease.start();
  }

  /** The lease first: nobody sends new calls to a server that is about to go. */
  async stop(): Promise<void> {
    await this.#lease.stop();
    this.#store.disconnect();
    this.#engine.close();
  }

  status() {
    const { sessions, portsFree } = this.#engine.stats();
    return { sessions, portsFree, failing: this.#lease.failing };
  }

  metrics(): string {
    const own = mediaMetrics(this.#state, this.#lease.failures);
    return `${this.#engine.metrics()}${own}`;
  }

  #apply(events: readonly MediaEvent[]): void {
    for (const event of events) {
      const { state, effects } = stepMedia(this.#state, event);
      this.#state = state;
      for (const effect of effects) {
        this.#context.log.warn({ call: effect.callId }, 'nobody sends audio, session given up');
      }
    }
  }
}
