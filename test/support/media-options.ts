/** A media engine on one address for tests: what a test does not name does nothing. */
import type { MediaOptions } from '../../src/native/index.ts';

export function mediaOptions(
  local: string,
  own: Pick<MediaOptions, 'portFrom' | 'portTo'> & Partial<MediaOptions>,
): MediaOptions {
  return {
    interfaces: [{ local, advertised: null }],
    floating: null,
    workers: 1,
    ngListen: null,
    ngTcpListen: null,
    mediaTimeoutS: 60,
    recordings: null,
    prompts: null,
    fastPath: false,
    packetIo: 'auto',
    recordingFormat: 'wav',
    codecs: [],
    forwardTo: null,
    forwardRateHz: 8_000,
    ...own,
  };
}
