import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Phone, startPhone } from '../../src/lab/phone.ts';
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

type Transport = 'udp' | 'tcp' | 'tls';

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

async function baresip(index: number, toneHz: number, transport: Transport): Promise<Phone> {
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
    directory: `${testLab.directory}/phones/${user.name}-${transport}`,
    server: vip,
    transport,
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
    const a = await baresip(0, 500, transport);
    const b = await baresip(1, 800, transport);

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
