import { afterEach, expect, test } from 'vitest';
import { MediaEngine, type TapChunk } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';
import { mediaOptions } from '../support/media-options.ts';
import { RtpEnd } from '../support/phone/rtp.ts';
import { dominantHertz } from '../support/phone/tone.ts';

const patienceMs = 10_000;
const address = '127.0.0.1';

let close: (() => void)[] = [];

afterEach(() => {
  for (const one of close.reverse()) {
    one();
  }
  close = [];
});

function startEngine(): MediaEngine {
  const engine = MediaEngine.start(
    mediaOptions(address, { portFrom: 36_900, portTo: 36_939, mediaTimeoutS: 0 }),
    () => undefined,
  );
  close.push(() => engine.close());
  return engine;
}

let cookie = 0;

function command(engine: MediaEngine, body: object): Record<string, string> {
  cookie += 1;
  const answer = engine.ng(Buffer.from(`${cookie} ${JSON.stringify(body)}`)).toString();
  return JSON.parse(answer.slice(answer.indexOf(' '))) as Record<string, string>;
}

function sdpOf(port: number): string {
  return [
    'v=0',
    `o=- 1 1 IN IP4 ${address}`,
    's=-',
    `c=IN IP4 ${address}`,
    't=0 0',
    `m=audio ${port} RTP/AVP 0`,
    'a=rtpmap:0 PCMU/8000',
    '',
  ].join('\r\n');
}

/** A call between two phones that send tones. */
async function call(engine: MediaEngine, id: string, hertz: [number, number]): Promise<RtpEnd[]> {
  const ends = await Promise.all(hertz.map((one) => RtpEnd.open(address, 0, { hertz: one })));
  const [first, second] = ends as [RtpEnd, RtpEnd];
  close.push(...ends.map((end) => () => end.close()));
  const tags = { 'call-id': id, 'from-tag': 'a' };
  const offer = command(engine, { command: 'offer', ...tags, sdp: sdpOf(first.port) });
  const answer = command(engine, {
    command: 'answer',
    ...tags,
    'to-tag': 'b',
    sdp: sdpOf(second.port),
  });
  const remote = (sdp = '') => ({ address, port: Number(/m=audio (\d+)/.exec(sdp)?.[1]) });
  first.send(remote(answer.sdp));
  second.send(remote(offer.sdp));
  return ends;
}

/** Samples of a tap in one row, as long as nothing is missing in it. */
function joined(chunks: readonly TapChunk[], tap: number): number[] {
  const own = chunks.filter((chunk) => chunk.tap === tap);
  const gap = own.findLastIndex((chunk, n) => {
    const before = own[n - 1];
    return before !== undefined && before.position + before.pcm.length !== chunk.position;
  });
  return own.slice(Math.max(gap, 0)).flatMap((chunk) => [...chunk.pcm]);
}

test('taps give what both parties of a call say, in common batches', async () => {
  const engine = startEngine();
  const ends = await call(engine, 'tapped', [440, 880]);
  const batches: TapChunk[][] = [];
  engine.onSound((chunks) => batches.push(chunks));
  const first = engine.tap('tapped', 'a', { rate: 16_000 });
  const second = engine.tap('tapped', 'b', { rate: 8000 });
  const heard = (tap: number) => joined(batches.flat(), tap);
  await eventually('a second of both', patienceMs, () => {
    return heard(first).length >= 16_000 && heard(second).length >= 8000;
  });
  // Its beginning is where the buffer filled.
  expect(dominantHertz(heard(first).slice(1600), 16_000)).toBe(440);
  expect(dominantHertz(heard(second).slice(800), 8000)).toBe(880);
  const peak = Math.max(...heard(second).slice(800));
  expect(peak).toBeGreaterThan(11_000);
  expect(peak).toBeLessThan(13_000);
  // Nobody pays a crossing for each packet: two parties sent 50 of them a second each.
  const packets = ends.reduce((sum, end) => sum + end.report().sent, 0);
  expect(batches.length).toBeLessThan(packets / 3);
  expect(batches.some((batch) => batch.length === 2)).toBe(true);
});

test('a tap ends when it is told to, and with its call', async () => {
  const engine = startEngine();
  await call(engine, 'ends', [440, 880]);
  const chunks: TapChunk[] = [];
  engine.onSound((batch) => chunks.push(...batch));
  const [asked, gone] = [
    engine.tap('ends', 'a', { rate: 8000 }),
    engine.tap('ends', 'b', { rate: 8000 }),
  ];
  const hasEnded = (tap: number) => chunks.some((one) => one.tap === tap && one.pcm.length === 0);
  expect(engine.untap(asked)).toBe(true);
  await eventually('the end of the first', patienceMs, () => hasEnded(asked));
  expect(engine.untap(asked)).toBe(false);
  command(engine, { command: 'delete', 'call-id': 'ends', 'from-tag': 'a' });
  await eventually('the end of the second', patienceMs, () => hasEnded(gone));
  expect(engine.metrics()).toContain('raftpbx_media_taps 0\n');
});

test('a party that is not there cannot be tapped, and says why', () => {
  const engine = startEngine();
  expect(() => engine.tap('none', 'a', { rate: 8000 })).toThrow('PBX_TAP_UNHEARD');
});
