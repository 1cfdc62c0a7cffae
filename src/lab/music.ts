/**
 * Music for a lab: a calm tune made of four chords, so that a party on hold hears something that
 * belongs to nobody. Pure; a WAV file of 16 bits, mono.
 */

const rate = 16_000;
/** Each chord, as frequencies in Hz: C, a minor, F and G, with the root an octave below. */
const chords = [
  [130.81, 261.63, 329.63, 392],
  [110, 261.63, 329.63, 440],
  [87.31, 261.63, 349.23, 440],
  [98, 246.94, 293.66, 392],
];
/** The order in which the notes of a chord are plucked. */
const pattern = [0, 1, 2, 3, 2, 1];
const noteS = 0.5;
/** A note rings on into the ones behind it. */
const ringS = 2;
const volume = 0.12;

/** Twelve seconds that follow on from their own end. */
export function holdMusic(): Buffer {
  const notes = chords.flatMap((chord) => pattern.map((place) => chord[place] ?? 0));
  const length = notes.length * noteS * rate;
  const sound = new Float64Array(length);
  notes.forEach((hertz, i) => {
    for (let n = 0; n < ringS * rate; n += 1) {
      const at = (i * noteS * rate + n) % length;
      sound[at] = (sound[at] ?? 0) + pluck(hertz, n / rate);
    }
  });
  return wavOf(sound);
}

function pluck(hertz: number, seconds: number): number {
  const attack = Math.min(1, seconds / 0.01);
  const release = Math.min(1, (ringS - seconds) / 0.05);
  const phase = 2 * Math.PI * hertz * seconds;
  const tone = Math.sin(phase) + 0.4 * Math.sin(2 * phase) + 0.15 * Math.sin(3 * phase);
  return attack * release * Math.exp(-2.2 * seconds) * tone;
}

function wavOf(sound: Float64Array): Buffer {
  const bytes = Buffer.alloc(44 + sound.length * 2);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  // 16 bytes of format: PCM, one channel, samples and bytes a second, bytes and bits a sample.
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(rate * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(sound.length * 2, 40);
  sound.forEach((sample, i) => {
    const limited = Math.max(-1, Math.min(1, sample * volume));
    bytes.writeInt16LE(Math.round(limited * 32_767), 44 + i * 2);
  });
  return bytes;
}
