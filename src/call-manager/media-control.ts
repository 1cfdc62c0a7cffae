/**
 * Media servers as call control uses them: NG offer, answer and delete with bounded repetition.
 * NG commands are idempotent, so a lost datagram or a takeover in between only repeats one.
 */
import { randomBytes } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { Client, type NgReply } from 'rtpengine-client';
import { parseHost } from '../cluster/index.ts';
import type { CallId, MediaAnchor } from '../domain/call.ts';
import { PbxError } from '../domain/errors.ts';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';

/**
 * The two sides of the anchor. All devices share one tag: only one of them is ever heard, and
 * a later answer replaces an earlier one (early media of a device that lost).
 */
export type MediaSide = 'caller' | 'device';

/** What a party said about its audio, and where that message came from. */
export interface HeardSdp {
  sdp: string;
  /** Address of the sender; its audio may come from there instead (NAT). Null: not known. */
  source: string | null;
}

/** A translated description. */
export interface MediaAnswer {
  sdp: string;
  /** What another server needs to go on under the same address, when it floats. */
  state?: string;
}

/** For whom an offer is written. */
export interface Reader {
  /** Transport of the lines with RTP; null: as offered. */
  profile: string | null;
  /** Whether it is a browser; null: it goes to devices of which some may be. */
  browser: boolean | null;
  /** Whether codecs are offered beside those of the offer, between which the server changes. */
  transcoded: boolean;
}

/** Suites in the descriptions we write: all of them would not fit into a datagram of SIP. */
const suites = ['AEAD_AES_256_GCM', 'AES_256_CM_HMAC_SHA1_80', 'AES_CM_128_HMAC_SHA1_80'];

/**
 * Browsers begin the handshake: only they know when they have found the way. RTCP shares the port
 * of RTP with them.
 */
const browserFlags = { ICE: 'force', DTLS: 'passive', 'rtcp-mux': ['offer', 'accept'] };
const plainFlags = { ICE: 'remove', 'rtcp-mux': ['demux'] };

/** Chooses the server for a call; names in `except` did not answer a moment ago. */
export type ChooseServer = (except: ReadonlySet<string>) => { name: string; ng: string } | null;

type NgCommand = 'offer' | 'answer' | 'delete' | 'list' | 'playMedia' | 'stopMedia';

export class MediaControl {
  readonly #client: Client;
  readonly #choose: ChooseServer;
  readonly #log: Log;
  /** Marks our sessions; see `leftovers.ts`. */
  readonly #owner: string;
  /** Codecs that may be offered beside those of an offer. */
  readonly #codecs: readonly string[];
  /** Commands without an answer, counted for metrics. */
  timeouts = 0;

  constructor(choose: ChooseServer, log: Log, owner: string, codecs: readonly string[]) {
    this.#choose = choose;
    this.#owner = owner;
    this.#codecs = codecs;
    this.#log = log;
    this.#client = new Client({ timeout: limits.ngTimeoutMs });
    // Answers that come after their timeout end here: the repetition was answered.
    this.#client.on('error', (error: Error) => log.debug({ error: error.message }, 'late answer'));
  }

  close(): void {
    this.#client.close();
  }

  /**
   * Anchors a call: offers the caller's description at the least loaded server. What comes back
   * is for `reader`. With the seed of an earlier anchor the server writes the keys that the phones
   * know.
   */
  async anchor(
    callId: CallId,
    heard: HeardSdp,
    reader: Reader,
    keySeed = randomBytes(32).toString('base64'),
  ): Promise<MediaAnchor> {
    const silent = new Set<string>();
    for (;;) {
      const server = this.#choose(silent);
      if (server === null) {
        throw new PbxError(silent.size === 0 ? 'PBX_MEDIA_NONE' : 'PBX_MEDIA_SILENT');
      }
      try {
        const offered = await this.offer(server.ng, callId, 'caller', heard, reader, keySeed);
        return { server: server.name, ng: server.ng, sdp: offered, moving: false, keySeed };
      } catch (error) {
        if (!(error instanceof PbxError) || error.code !== 'PBX_MEDIA_SILENT') {
          throw error;
        }
        this.#log.warn({ call: callId, server: server.name }, 'media server is silent');
        silent.add(server.name);
      }
    }
  }

  /**
   * Translates an offer of one side for the other. Keys are offered in any case; without a secure
   * transport they may be left out. So is a certificate where a browser may be (RFC 8643).
   */
  async offer(
    ng: string,
    callId: CallId,
    from: MediaSide,
    heard: HeardSdp,
    { profile, browser, transcoded }: Reader,
    keySeed?: string,
  ): Promise<string> {
    const codecs = [...this.#codecs];
    const fields = {
      'call-id': callId,
      'from-tag': from,
      owner: this.#owner,
      // Padded, because there are phones that lose the end of a longer key without (baresip).
      SDES: [...suites.map((suite) => `only-${suite}`), 'pad'],
      OSRTP: ['offer', 'accept'],
      ...(browser === false ? plainFlags : browserFlags),
      ...(profile === null ? {} : { 'transport-protocol': profile }),
      ...(keySeed === undefined ? {} : { 'key-seed': keySeed }),
      ...(transcoded && codecs.length > 0 ? { codec: { transcode: codecs } } : {}),
    };
    return (await this.#translate('offer', ng, fields, heard)).sdp;
  }

  /** Translates the answer that `answerer` gave to the other side's offer. */
  async answer(
    ng: string,
    callId: CallId,
    answerer: MediaSide,
    heard: HeardSdp,
  ): Promise<MediaAnswer> {
    const offerer = answerer === 'device' ? 'caller' : 'device';
    const tags = { 'call-id': callId, 'from-tag': offerer, 'to-tag': answerer };
    // Written where the offerer has it.
    const fields = { ...tags, ICE: 'optional', DTLS: 'passive', snapshot: 'yes' };
    const { sdp, state } = await this.#translate('answer', ng, fields, heard);
    return state === undefined ? { sdp } : { sdp, state };
  }

  /**
   * Our sessions at a server that are silent. None of a server that does not know owners: it
   * names sessions of others, too.
   */
  async silentSessions(ng: string): Promise<string[]> {
    const reply = await this.#command('list', ng, {
      owner: this.#owner,
      'silent-s': limits.leftoverSilentS,
      limit: limits.leftoversListed,
    });
    return reply.owner === this.#owner ? (reply.calls ?? []) : [];
  }

  /** Ends the session; a server that is gone has ended it anyway. */
  async delete(ng: string, callId: string): Promise<void> {
    await this.#command('delete', ng, { 'call-id': callId, 'from-tag': 'caller' });
  }

  /**
   * Plays a file to one side again and again; answers its length, ms, and the state. Asked once:
   * nobody's call depends on it.
   */
  async playMusic(
    ng: string,
    callId: CallId,
    side: MediaSide,
    file: string,
    fromMs = 0,
  ): Promise<{ lastsMs: number; state?: string }> {
    const fields = {
      'call-id': callId,
      'from-tag': side,
      file,
      'repeat-times': limits.musicRepeats,
      ...(fromMs > 0 ? { 'start-pos': fromMs } : {}),
      // Encoded once for all who hear it.
      shared: 'yes',
      snapshot: 'yes',
    };
    const { duration, state } = await this.#play('playMedia', ng, fields);
    return { lastsMs: duration ?? 0, ...(state === undefined ? {} : { state }) };
  }

  /** Ends what is played to one side. */
  async stopMusic(ng: string, callId: CallId, side: MediaSide): Promise<void> {
    await this.#play('stopMedia', ng, { 'call-id': callId, 'from-tag': side });
  }

  async #play(command: NgCommand, ng: string, fields: object): Promise<NgReply> {
    const reply = await this.#command(command, ng, fields, 0);
    if (reply.result !== 'ok') {
      throw new PbxError('PBX_MEDIA_REFUSED', reply['error-reason'] ?? command);
    }
    return reply;
  }

  async #translate(
    command: 'offer' | 'answer',
    ng: string,
    fields: Record<string, unknown>,
    { sdp, source }: HeardSdp,
  ): Promise<MediaAnswer> {
    const reply = await this.#command(command, ng, {
      ...fields,
      sdp,
      ...(source === null ? {} : { 'received-from': [isIPv6(source) ? 'IP6' : 'IP4', source] }),
      replace: ['origin', 'session-connection'],
    });
    if (reply.result !== 'ok' || typeof reply.sdp !== 'string') {
      throw new PbxError('PBX_MEDIA_REFUSED', reply['error-reason'] ?? command);
    }
    const { sdp: translated, state } = reply;
    return state === undefined ? { sdp: translated } : { sdp: translated, state };
  }

  async #command(
    command: NgCommand,
    ng: string,
    fields: object,
    retries: number = limits.ngRetries,
  ): Promise<NgReply> {
    const place = parseHost(ng);
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#client[command](place, { ...fields });
      } catch (error) {
        this.timeouts += 1;
        if (attempt === retries) {
          throw new PbxError('PBX_MEDIA_SILENT', `${command} at ${ng}`, { cause: error });
        }
      }
    }
  }
}
