import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  Browsers,
  called,
  dialled,
  melodies,
  untilMelodiesHeard,
} from '../support/browser/desk.ts';
import { eventually } from '../support/eventually.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';
import { fitOf } from '../support/phone/melody.ts';

/** ICE, DTLS and the start of a decoder, on a machine that is busy with a cluster. */
const heardMsMax = 20_000;

let lab: TestLab;
const browsers = new Browsers();
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(() => browsers.close());
afterAll(() => lab?.close());

test.each([
  ['calls', dialled],
  ['is called by', called],
] as const)(
  'a browser that has only Opus %s a phone that has only PCMU: what one says the other hears',
  async (_, begin) => {
    const at = await browsers.desk(
      lab,
      { melody: melodies.browser, codec: 'opus' },
      { hertz: 0, melody: melodies.phone },
    );
    await begin(at);
    await untilMelodiesHeard(at, heardMsMax);
    const { stats } = await at.browser.heard();
    const codecs = stats.filter(({ type }) => type === 'codec').map(({ mimeType }) => mimeType);
    expect(new Set(codecs), 'no other codec was agreed on').toEqual(new Set(['audio/opus']));
    expect((await at.phone.audio()).payloadTypes).toEqual([0]);
    // Each hears the other one and not itself.
    expect(fitOf(await at.browser.samples(), melodies.browser).correlation).toBeLessThan(0.5);
    expect(fitOf(await at.phone.heard(), melodies.phone).correlation).toBeLessThan(0.5);

    expect(await at.browser.hold(true)).toBe(true);
    await eventually('the phone to be held', 5000, async () => (await at.phone.snapshot()).held);
    await eventually('the browser to take back', 5000, () => at.browser.hold(false));
    await eventually('the phone to be back', 5000, async () => !(await at.phone.snapshot()).held);
    await untilMelodiesHeard(at, heardMsMax);
    expect((await at.phone.reinvite('sendrecv')).status).toBe(200);
    await untilMelodiesHeard(at, heardMsMax);

    await at.browser.hangup();
    expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  },
);
