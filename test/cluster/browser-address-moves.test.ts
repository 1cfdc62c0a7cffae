import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  Browsers,
  called,
  type Desk,
  dialled,
  melodies,
  untilMelodiesHeard,
} from '../support/browser/desk.ts';
import { eventually } from '../support/eventually.ts';
import { withoutFloating } from '../support/floating.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

/** ICE, DTLS and the start of a decoder, on a machine that is busy with a cluster. */
const heardMsMax = 20_000;
/** Packets until a session was written down with the keys of its handshake: eight seconds. */
const keptPackets = 400;
/** The number of the phone's packets begins anew soon behind the first time it is written down. */
const firstSequence = 65_536 - 350;
/** Checks of ICE that prove that consent goes on (RFC 7675): about one in 2.5 seconds. */
const consents = 4;

let lab: TestLab;
const browsers = new Browsers();
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(() => browsers.close());
afterAll(() => lab?.close());

/** What the browser knows about its way to the media server. */
async function wayOf({ browser }: Desk) {
  const { connections, stats } = await browser.heard();
  const transport = stats.find(({ type }) => type === 'transport');
  const id = transport?.selectedCandidatePairId;
  const pair = stats.find((one) => one.id === id);
  return {
    connections,
    dtls: transport?.dtlsState,
    ice: transport?.iceState,
    pair: id,
    pairs: transport?.selectedCandidatePairChanges,
    consents: Number(pair?.responsesReceived ?? 0),
  };
}

async function invitesAt({ browser, phone }: Desk): Promise<[number, number]> {
  const { trace } = await browser.snapshot();
  const atPhone = (await phone.snapshot()).requests.INVITE ?? 0;
  return [trace.filter((line) => line.includes('< INVITE')).length, atPhone];
}

async function serverOf({ browserUser, phoneUser }: Desk): Promise<string> {
  const names = [browserUser.name, phoneUser.name];
  return (await lab.calls()).find((call) => names.includes(call.from))?.mediaServer ?? '';
}

/** A call at an address that moves: a server that has just come back has it a moment later. */
async function untilFloating(at: Desk, begin: (at: Desk) => Promise<void>): Promise<void> {
  await eventually('a call at a floating address', heardMsMax, async () => {
    await begin(at);
    await untilMelodiesHeard(at, heardMsMax);
    const { from } = await at.phone.audio();
    if (from.startsWith('10.77.0.3')) {
      return true;
    }
    await at.browser.hangup();
    await at.phone.until('ended', 5000);
    return false;
  });
}

test.each([
  ['that called, in PCMU', dialled, {}],
  ['that was called, in PCMU', called, {}],
  ['that called, in Opus where the phone has PCMU', dialled, { codec: 'opus' }],
  ['that was called, in Opus where the phone has PCMU', called, { codec: 'opus' }],
] as const)(
  'a browser %s goes on under the same address when its media server dies',
  async (_, begin, codec) => {
    await lab.untilHealthy();
    const at = await browsers.desk(
      lab,
      { melody: melodies.browser, ...codec },
      { hertz: 0, melody: melodies.phone, firstSequence },
    );
    await untilFloating(at, begin);
    await eventually('the session to be written down', 30_000, async () => {
      return (await at.phone.audio()).received >= keptPackets;
    });
    const dead = await serverOf(at);
    const [way, invites] = [await wayOf(at), await invitesAt(at)];
    const { from } = await at.phone.audio();
    expect(way).toMatchObject({ dtls: 'connected', connections: 1 });

    await lab.kill(dead);
    await eventually('the record names the other server', 10_000, async () => {
      const now = await serverOf(at);
      return now !== '' && now !== dead;
    });
    await untilMelodiesHeard(at, heardMsMax);

    expect((await at.phone.audio()).from, 'the same address and port').toBe(from);
    // The other server answers as the dead one did: consent to send goes on.
    const after = await eventually('further checks of ICE', 30_000, async () => {
      const now = await wayOf(at);
      return now.consents >= way.consents + consents && now;
    });
    expect({ ...after, consents: 0 }, 'no new way, no new handshake').toEqual({
      ...way,
      consents: 0,
    });
    await untilMelodiesHeard(at, heardMsMax);
    expect(await invitesAt(at), 'nobody was told anything').toEqual(invites);

    // What comes afterwards is asked of the server that has the call now.
    expect(await at.browser.hold(true)).toBe(true);
    await eventually('the phone to be held', 5000, async () => (await at.phone.snapshot()).held);
    await eventually('the browser to take back', 5000, () => at.browser.hold(false));
    await eventually('the phone to be back', 5000, async () => !(await at.phone.snapshot()).held);
    await untilMelodiesHeard(at, heardMsMax);
    expect(await wayOf(at)).toMatchObject({ dtls: 'connected', connections: 1 });

    await at.browser.hangup();
    expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    await lab.startAgain(dead);
  },
  testTimeoutMs,
);

test.each([
  ['called', dialled],
  ['was called', called],
] as const)(
  'without floating addresses a browser in Opus that %s makes new keys by a re-INVITE',
  async (_, begin) => {
    await withoutFloating(lab, async () => {
      const at = await browsers.desk(
        lab,
        { melody: melodies.browser, codec: 'opus' },
        { hertz: 0, melody: melodies.phone },
      );
      await begin(at);
      await untilMelodiesHeard(at, heardMsMax);
      const [dead, invites] = [await serverOf(at), await invitesAt(at)];

      await lab.kill(dead);
      await eventually('both to be told', heardMsMax, async () => {
        const now = await invitesAt(at);
        return now.every((count, i) => count > (invites[i] as number));
      });
      await eventually('new keys', heardMsMax, async () => {
        const { dtls, ice } = await wayOf(at);
        return dtls === 'connected' && ice === 'connected';
      });
      await untilMelodiesHeard(at, heardMsMax);
      expect((await at.browser.snapshot()).call).toBe('up');
      expect(await serverOf(at)).not.toBe(dead);

      await at.browser.hangup();
      expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
      await lab.startAgain(dead);
    });
  },
  testTimeoutMs,
);
