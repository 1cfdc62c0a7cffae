/**
 * Processor time per packet where a relay has to do something about it, ours beside rtpengine:
 * encryption towards one party, and two codecs.
 */
import {
  type Load,
  loadColumns,
  loadOf,
  loadRow,
  ourCommand,
  rtpengineCommand,
  withRelay,
} from './relay-load.ts';
import type { PartResult } from './report.ts';

const seconds = 10;
/** What the called phones speak, how it is called, and calls at once. */
const profiles = [
  { profile: 'srtp', name: 'PCMU, one party in SRTP', calls: 200 },
  { profile: 'g722', name: 'PCMU and G.722', calls: 50 },
  { profile: 'opus', name: 'PCMU and Opus', calls: 20 },
] as const;

export async function measureConversions(): Promise<PartResult> {
  return await withRelay(async (phones, relay) => {
    const rows: string[][] = [];
    const add = (name: string, relayed: string, load: Load) => {
      rows.push([name, ...loadRow(relayed, load)]);
    };
    for (const { profile, name, calls } of profiles) {
      const size = { calls, seconds, profile };
      // Twice in turn: single runs on a shared machine vary, neighbours in time compare.
      for (const pass of [1, 2]) {
        const ours = await loadOf(phones, relay, ourCommand('auto'), 'ready', size);
        add(name, `raftpbx media, pass ${pass}`, ours);
        const command = rtpengineCommand();
        const theirs = await loadOf(phones, relay, command, 'Startup complete', size);
        add(name, `rtpengine, pass ${pass}`, theirs);
      }
    }
    return {
      part: 'conversions',
      title: 'Encrypting and transcoding, beside rtpengine',
      notes: [
        `Calls for ${seconds} s over a veth pair, set up with NG offer and answer, 50 packets a ` +
          'second each way; CPU is user and system time of the relay process, divided by packets.',
        'Encrypted packets (AES-128 in counter mode, HMAC-SHA1 of ten bytes) are opened at the far ' +
          'end and compared. Transcoded ones are known by their order: latency holds where none is ' +
          'lost, and is the delay that transcoding adds.',
        'rtpengine keeps the last packet of each direction until another one comes: one lost a ' +
          'flow is no loss.',
      ],
      head: ['between', ...loadColumns],
      rows,
    };
  });
}
