/** Runs the media engine of this server and keeps its lease. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { connectStore, ServerLease } from '../cluster/index.ts';
import { limits } from '../domain/limits.ts';
import type { RoleHandle } from '../domain/server.ts';
import { changedKey, lostKey } from '../domain/told-session.ts';
import { type FloatingAddresses, MediaEngine, type MediaEvent } from '../native/index.ts';
import type { MediaServerApi } from './api.ts';
import { FloatingKeeper } from './floating.ts';
import type { MediaServerContext } from './index.ts';
import {
  capacityOf,
  type MediaEffect,
  type MediaState,
  mediaMetrics,
  startedState,
  stepMedia,
} from './machine.ts';

/** What the log says about a session. */
const reports = {
  silent: 'nobody sends audio, session given up',
  failed: 'the thread that carried this session failed, session lost',
} as const;

function floatingOf({ floating }: MediaServerContext): FloatingAddresses | null {
  return floating == null
    ? null
    : {
        interface: floating.interface ?? null,
        addresses: [...floating.addresses],
        group: [...floating.group],
      };
}

export class MediaServer implements RoleHandle, MediaServerApi {
  readonly #context: MediaServerContext;
  readonly #engine: MediaEngine;
  readonly #store: Redis;
  readonly #lease: ServerLease;
  readonly #floating: FloatingKeeper | null;
  #state: MediaState = startedState;

  constructor(context: MediaServerContext) {
    const { name, roles, address, ports, ngListen, version, log } = context;
    this.#context = context;
    this.#engine = MediaEngine.start(
      {
        floating: floatingOf(context),
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
        packetIo: context.packetIo ?? 'auto',
        recordingFormat: context.recordingFormat ?? 'wav',
        codecs: [...(context.codecs ?? [])],
        forwardTo: context.forwardTo ?? null,
        forwardRateHz: context.forwardRateHz ?? 8_000,
      },
      (events) => this.#apply(events),
    );
    this.#store = connectStore({ ...context.store, log });
    const ng = this.#engine.ngAddress() ?? ngListen;
    const life = randomBytes(6).toString('hex');
    const execute = ([command, ...args]: readonly (string | number)[]) =>
      this.#store.call(String(command), ...args);
    const { floating, ngTcpListen } = context;
    const capacity = capacityOf(ports);
    this.#lease = new ServerLease({
      server: {
        ...{ name, roles: [...roles], address, ng, life, capacity, version },
        ...(ngTcpListen === undefined ? {} : { ngTcp: ngTcpListen }),
        ...(floating == null ? {} : { floating: [...floating.group] }),
      },
      load: () => this.#engine.stats().sessions,
      execute,
      log,
    });
    const here = { name, life, engine: this.#engine, execute, log };
    this.#floating = floating == null ? null : new FloatingKeeper({ ...here, options: floating });
    this.#lease.start();
    this.#floating?.start();
  }

  /** The lease first: nobody sends new calls to a server that is about to go. */
  async stop(): Promise<void> {
    await this.#floating?.stop();
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
        this.#carryOut(effect);
      }
    }
  }

  #carryOut(effect: MediaEffect): void {
    const { callId } = effect;
    if (effect.type === 'tellChanged') {
      // Call control writes the session down anew.
      this.#tell(changedKey(callId), callId, 'nobody was told of this change');
      return;
    }
    this.#context.log.warn({ call: callId }, reports[effect.reason]);
    if (effect.reason === 'failed') {
      // Call control anchors the call anew.
      this.#tell(lostKey(callId), callId, 'nobody was told of this loss');
    }
  }

  /** Tells the leader of a call. */
  #tell(key: string, callId: string, otherwise: string): void {
    const { name, log } = this.#context;
    this.#store
      .call('SET', key, name, 'PX', String(limits.lostSessionMs))
      .catch((error: unknown) => log.error({ call: callId, error }, otherwise));
  }
}
