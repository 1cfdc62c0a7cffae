/**
 * The media session of one call: carries out the machine's media effects with NG commands, one
 * after the other, so that a delete never overtakes its offer.
 */
import type { MediaAnchor } from '../../domain/call.ts';
import { PbxError } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import type { HeardSdp, MediaControl, MediaSide, Reader } from '../media-control.ts';
import { haveCommonCodec } from './codecs.ts';
import { isBrowsers, keysOf, plainProfile, profileOf } from './encryption.ts';
import { sideOnHold } from './hold.ts';
import type { Call, CallEffect, CallEvent } from './types.ts';

export interface CallMediaOptions {
  media: MediaControl;
  log: Log;
  now(): number;
  call(): Call;
  /** What the caller last said about its audio: in its INVITE, or in its dialog. */
  callerSdp(): string;
  /** What the device that answered last said; empty before. */
  deviceSdp(): string;
  /** What a party on hold hears, a file of the media server; null: nothing. */
  music: string | null;
  /** Taken over: what is played was begun by another node. */
  resumed: boolean;
  /** Where the SIP messages of a leg come from, as far as one came. */
  sourceOf(leg: number): string | null;
  dispatch(event: CallEvent): void;
}

type EffectOf<Type extends CallEffect['type']> = Extract<CallEffect, { type: Type }>;

export type MediaEffect = EffectOf<
  | 'offerMedia'
  | 'answerEarly'
  | 'answerMedia'
  | 'deleteMedia'
  | 'moveMedia'
  | 'assumeAnswer'
  | 'resumeMusic'
  | 'renewMedia'
  | 'modifyOffer'
  | 'modifyAnswer'
>;

export class CallMedia {
  readonly #options: CallMediaOptions;
  #order: Promise<unknown> = Promise.resolve();
  /** The server of an offer whose call ended before its answer came. */
  #offeredAt: string | null = null;
  /** The offer of a party whose answer is awaited. */
  #offer: { side: MediaSide; sdp: string } | null = null;
  /** Who hears music, from which server, since when, and how long the file is. */
  #music: { side: MediaSide; ng: string; since: number; lastsMs: number } | 'unknown' | null;

  constructor(options: CallMediaOptions) {
    this.#options = options;
    this.#music = options.resumed ? 'unknown' : null;
  }

  act(effect: MediaEffect): void {
    this.#order = this.#order
      .then(() => this.#run(effect))
      .catch((error: unknown) => this.#failed(effect, error));
  }

  async #run(effect: MediaEffect): Promise<void> {
    const { media, call, dispatch } = this.#options;
    const { id } = call();
    const ng = call().media?.ng ?? this.#offeredAt;
    switch (effect.type) {
      case 'offerMedia': {
        const anchor = await this.#anchor();
        this.#offeredAt = anchor.ng;
        dispatch({ type: 'mediaOffered', media: anchor });
        break;
      }
      case 'answerEarly': {
        const { sdp } = await media.answer(ng ?? '', id, 'device', this.#heard(effect));
        dispatch({ type: 'earlyMedia', leg: effect.leg, sdp });
        break;
      }
      case 'answerMedia':
        dispatch({
          type: 'mediaAnswered',
          ...(await media.answer(ng ?? '', id, 'device', this.#heard(effect))),
        });
        break;
      case 'modifyOffer':
        dispatch({
          type: 'modifyOffered',
          sdp: await this.#translate(ng ?? '', effect),
        });
        this.#offer = { side: sideOf(effect.leg), sdp: effect.sdp };
        break;
      case 'modifyAnswer':
        dispatch({
          type: 'modifyAnswered',
          ...(await media.answer(ng ?? '', id, sideOf(effect.leg), this.#heard(effect))),
        });
        await this.#playMusic(ng ?? '', effect);
        break;
      case 'moveMedia':
        await this.#move(ng);
        break;
      case 'assumeAnswer':
        await this.#assume(ng ?? '', effect.leg);
        break;
      case 'resumeMusic':
        await this.#resumeMusic(ng ?? '');
        break;
      case 'renewMedia':
        await this.#renew(ng ?? '', effect);
        break;
      case 'deleteMedia':
        if (ng !== null) {
          await media.delete(ng, id);
        }
        break;
      default:
        effect satisfies never;
    }
  }

  #heard({ leg, sdp }: { leg: number; sdp: string }): HeardSdp {
    return { sdp, source: this.#options.sourceOf(leg) };
  }

  #heardFromCaller(): HeardSdp {
    return this.#heard({ leg: 0, sdp: this.#options.callerSdp() });
  }

  /** For the devices of a new call, or for the one that answered: what it talks already. */
  #anchor(): Promise<MediaAnchor> {
    const { media, call, callerSdp, deviceSdp, now } = this.#options;
    const plain = plainProfile(profileOf(callerSdp()));
    const device = deviceSdp();
    const profile = plain === null ? null : (profileOf(device) ?? plain);
    const isNew = device === '';
    const reader: Reader = {
      profile,
      browser: isNew ? null : isBrowsers(device),
      transcoded: isNew || !haveCommonCodec(callerSdp(), device),
    };
    const { id, answeredAt, media: before } = call();
    // The count of packets that goes with old keys is not known to another server once it has
    // rolled over: new keys then, with which everybody counts from the start.
    const known = answeredAt === null || now() - answeredAt < limits.keysKeptMs;
    return media.anchor(id, this.#heardFromCaller(), reader, known ? before?.keySeed : undefined);
  }

  /** An offer of one party for the other, which keeps the transport it has. */
  #translate(ng: string, effect: { leg: number; sdp: string }): Promise<string> {
    const { media, call, callerSdp, deviceSdp } = this.#options;
    const other = effect.leg === 0 ? deviceSdp() : callerSdp();
    const reader = readerOf(effect.sdp, other);
    return media.offer(ng, call().id, sideOf(effect.leg), this.#heard(effect), reader);
  }

  /** The caller chose new keys when it heard of its new media server. */
  async #renew(ng: string, effect: { leg: number; sdp: string }): Promise<void> {
    const { media, call, deviceSdp } = this.#options;
    if (isBrowsers(effect.sdp)) {
      // It was told of us by an offer, and what it knows of us is to stay.
      await this.#translate(ng, { leg: call().winner ?? 0, sdp: deviceSdp() });
      const answer = await media.answer(ng, call().id, 'caller', this.#heard(effect));
      this.#renewed(answer.state);
      return;
    }
    if (keysOf(effect.sdp).length === 0) {
      return;
    }
    await this.#translate(ng, effect);
    const winner = call().winner ?? 0;
    const heard = this.#heard({ leg: winner, sdp: deviceSdp() });
    this.#renewed((await media.answer(ng, call().id, 'device', heard)).state);
  }

  #renewed(state: string | undefined): void {
    const { dispatch, call } = this.#options;
    const server = call().media?.server ?? '';
    dispatch(state === undefined ? { type: 'mediaStale' } : { type: 'mediaKept', server, state });
  }

  /**
   * Music for who is on hold since this answer, silence for who is not any more. Asked once:
   * without an answer the party hears what it would hear without music.
   */
  async #playMusic(ng: string, { leg, sdp }: { leg: number; sdp: string }): Promise<void> {
    const { media, call, music, log, callerSdp, deviceSdp, dispatch, now } = this.#options;
    if (music === null) {
      return;
    }
    const said = { caller: callerSdp(), device: deviceSdp() };
    said[sideOf(leg)] = sdp;
    if (this.#offer !== null) {
      said[this.#offer.side] = this.#offer.sdp;
    }
    this.#offer = null;
    const side = sideOnHold(said.caller, said.device);
    const before = this.#music;
    const { id } = call();
    if (side !== null || before !== null) {
      // From now on numbers of ours go to a party: no other server may use them again.
      dispatch({ type: 'mediaStale' });
    }
    try {
      if (before === 'unknown' || (before?.ng === ng && before.side !== side)) {
        const sides = before === 'unknown' ? (['caller', 'device'] as const) : [before.side];
        await Promise.all(sides.map((each) => media.stopMusic(ng, id, each)));
      }
      this.#music = null;
      if (side === null) {
        dispatch({ type: 'mediaStale' });
        return;
      }
      const { lastsMs, state } = await media.playMusic(ng, id, side, music);
      this.#music = { side, ng, since: now(), lastsMs };
      this.#renewed(state);
    } catch (error) {
      log.warn({ error: String(error), music }, 'no music on hold');
    }
  }

  /** Music that a dead server played goes on where it would be now. */
  async #resumeMusic(ng: string): Promise<void> {
    const { media, call, music, log, callerSdp, deviceSdp, now } = this.#options;
    const side = sideOnHold(callerSdp(), deviceSdp());
    if (music === null || side === null) {
      return;
    }
    const before = this.#music === 'unknown' ? null : this.#music;
    const since = before?.since ?? now();
    try {
      const lastsMs = before?.lastsMs ?? 0;
      const fromMs = lastsMs > 0 ? (now() - since) % lastsMs : 0;
      const { state } = await media.playMusic(ng, call().id, side, music, fromMs);
      this.#music = { side, ng, since, lastsMs };
      this.#renewed(state);
    } catch (error) {
      log.warn({ error: String(error), music }, 'no music on hold');
    }
  }

  /** Anchors the call anew at a server that is up. */
  async #move(old: string | null): Promise<void> {
    const { media, call, dispatch, log } = this.#options;
    const { id } = call();
    const anchor = await this.#anchor();
    log.info({ server: anchor.server }, 'call moves to another media server');
    this.#offer = null;
    dispatch({ type: 'mediaMoved', media: anchor });
    if (old !== null && old !== anchor.ng) {
      // It may only be cut off from the store; nobody waits for its answer.
      media.delete(old, id).catch(() => log.debug({ ng: old }, 'old media server is silent'));
    }
  }

  /**
   * What the caller would be told if the device said the same again. A browser does not: it
   * begins its ICE anew.
   */
  async #assume(ng: string, leg: number): Promise<void> {
    const { media, call, callerSdp, deviceSdp, dispatch } = this.#options;
    const sdp = deviceSdp();
    if (sdp === '' || isBrowsers(sdp) || isBrowsers(callerSdp())) {
      return;
    }
    const answer = await media.answer(ng, call().id, 'device', this.#heard({ leg, sdp }));
    dispatch({ type: 'moveAssumed', sdp: answer.sdp });
  }

  #failed(effect: MediaEffect, error: unknown): void {
    const { dispatch, log, now } = this.#options;
    log.warn({ error: String(error), effect: effect.type }, 'media command failed');
    const known = error instanceof PbxError ? error : null;
    const status = known?.sipStatus ?? 500;
    const at = now();
    switch (effect.type) {
      case 'offerMedia':
      case 'answerMedia': {
        const silent = known?.code === 'PBX_MEDIA_SILENT';
        dispatch({ type: 'mediaRefused', status, silent, at });
        break;
      }
      case 'modifyOffer':
      case 'modifyAnswer':
        dispatch({ type: 'modifyRefused', leg: effect.leg, status, at });
        break;
      case 'moveMedia':
        dispatch({ type: 'moveFailed', at });
        break;
      case 'answerEarly':
      case 'assumeAnswer':
      case 'resumeMusic':
      case 'renewMedia':
      case 'deleteMedia':
        // The caller hears ringing instead; the server is gone or times the session out.
        break;
      default:
        effect satisfies never;
    }
  }
}

/**
 * How an offer is to look for who has said `other` before: it keeps the transport it has, and is
 * offered other codecs when those of the offer are none of its own.
 */
function readerOf(offer: string, other: string): Reader {
  const profile = plainProfile(profileOf(offer)) === null ? null : profileOf(other);
  return { profile, browser: isBrowsers(other), transcoded: !haveCommonCodec(offer, other) };
}

function sideOf(leg: number): MediaSide {
  return leg === 0 ? 'caller' : 'device';
}
