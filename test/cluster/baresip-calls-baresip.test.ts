import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Phone, type PhoneOptions, startPhone } from '../../src/lab/phone.ts';
import { labFiles } from '../../src/lab/plan.ts';
import { eventually } from '../support/eventually.ts';
import {
  openLab,
  phonesNamespace,
  type TestLab,
  testLab,
  testTimeoutMs,
  vip,
} from '../support/lab.ts';
import { dominantHertz, longestSilenceMs } from '../support/phone/tone.ts';
import { readWav } from '../support/wav.ts';

/** baresip plays out of a jitter buffer; what it fills in may be silent for a moment. */
const silenceMaxMs = 300;
const talkSeconds = 3;

type Kind = Pick<PhoneOptions, 'transport' | 'encryption'>;

let lab: TestLab;
let phones: Phone[] = [];
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(async () => {
  await Promise.all(phones.map((phone) => phone.stop()));
  phones = [];
});
afterAll(() => lab?.close());

async function baresip(index: number, toneHz: number, kind: Kind): Promise<Phone> {
  const user = lab.credentials.users[index];
  if (user === undefined) {
    throw new Error(`the lab has no user ${index}`);
  }
  const phone = await startPhone({
    name: user.name,
    user: user.name,
    password: user.password,
    namespace: phonesNamespace,
    // baresip sends its audio from the first address of the interface, whatever it is told.
    address: '10.77.0.200',
    // The control ports, which follow from this one, share the namespace's loopback.
    port: 5060 + 2 * index,
    directory: `${testLab.directory}/phones/${user.name}-${Object.values(kind).join('-')}`,
    server: vip,
    ...kind,
    authority: labFiles(testLab.directory).authority,
    toneHz,
  });
  phones.push(phone);
  await phone.registered();
  return phone;
}

/** Waits until the phone has recorded a whole call, then looks at the sound in its middle. */
async function expectHeard(phone: Phone, hertz: number): Promise<void> {
  const { samples, sampleRate } = await eventually('the recording', 15_000, () => {
    const path = phone.recordedAudioPath;
    const wav = path === null ? null : readWav(path);
    return wav !== null && wav.samples.length > wav.sampleRate * talkSeconds && wav;
  });
  const middle = samples.subarray(sampleRate, sampleRate * (talkSeconds - 1));
  expect(dominantHertz(middle, sampleRate)).toBe(hertz);
  expect(longestSilenceMs(middle, sampleRate)).toBeLessThan(silenceMaxMs);
}

test.each(['udp', 'tcp', 'tls'] as const)(
  'a baresip calls a baresip over %s and each hears the other',
  async (transport) => {
    const a = await baresip(0, 500, { transport });
    const b = await baresip(1, 800, { transport });

    await a.dial('1002');
    await Promise.all([expectHeard(a, 800), expectHeard(b, 500)]);
    const ended = b.wait((event) => event.type === 'CALL_CLOSED', 5000);
    await a.hangup();
    await ended;

    await eventually('the record', 5000, async () => {
      const [cdr] = await lab.cdrs('1001');
      return cdr?.result === 'answered' && cdr.endedBy === 'caller' && cdr.to === '1002';
    });
  },
);

/** Sides of media lines that the media servers encrypt now. */
async function encryptedSides(): Promise<number> {
  const { servers } = await lab.status();
  const up = servers.filter(({ name, state }) => name.startsWith('media') && state === 'up');
  const counts = up.map(({ name }) => lab.metric(name, 'raftpbx_media_encrypted'));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

/** Waits until the phone has heard on for a while, and looks at the end of that. */
async function expectStillHeard(phone: Phone, hertz: number): Promise<void> {
  const path = phone.recordedAudioPath as string;
  const before = readWav(path).samples.length;
  const { samples, sampleRate } = await eventually('more of the recording', 15_000, () => {
    const wav = readWav(path);
    return wav.samples.length > before + wav.sampleRate * talkSeconds && wav;
  });
  expect(dominantHertz(samples.subarray(-sampleRate), sampleRate)).toBe(hertz);
}

test('a phone that insists on SRTP talks to one that can and to one that cannot', async () => {
  const a = await baresip(0, 500, { transport: 'tls', encryption: 'required' });
  const b = await baresip(1, 800, { transport: 'tls', encryption: 'optional' });
  const c = await baresip(2, 900, { transport: 'udp' });

  await a.dial('1002');
  expect(await encryptedSides()).toBe(2);
  await Promise.all([expectHeard(a, 800), expectHeard(b, 500)]);
  await a.hangup();
  await eventually('the end of the session', 5000, async () => (await encryptedSides()) === 0);

  await c.dial('1001');
  expect(await encryptedSides()).toBe(1);
  await Promise.all([expectHeard(a, 900), expectHeard(c, 500)]);
  await c.hangup();
});

test('an encrypted call goes on when its media server dies', async () => {
  const a = await baresip(0, 500, { transport: 'tls', encryption: 'required' });
  const b = await baresip(1, 800, { transport: 'tls', encryption: 'optional' });
  await a.dial('1002');
  const call = (await lab.calls()).find(({ from }) => from === '1001');
  const dead = call?.mediaServer ?? '';
  await lab.kill(dead);
  await eventually('the call at another server', 10_000, async () => {
    const [now] = await lab.calls();
    return now !== undefined && now.mediaServer !== dead;
  });
  await Promise.all([expectStillHeard(a, 800), expectStillHeard(b, 500)]);
  expect(await encryptedSides()).toBe(2);
  await a.hangup();
  await lab.startAgain(dead);
  await lab.untilHealthy();
});
