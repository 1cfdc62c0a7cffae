/**
 * Processor time per relayed packet, ours beside rtpengine in user space: `rtpload` sets the
 * calls up over NG, sends 50 packets a second each way and compares every payload.
 */
import {
  loadColumns,
  loadOf,
  loadRow,
  ourCommand,
  rtpengineCommand,
  withRelay,
} from './relay-load.ts';
import type { PartResult } from './report.ts';

const size = { calls: 500, seconds: 10, profile: 'plain' };

/** Values of `--path`, and what they mean. */
const ourPaths = [
  ['auto', 'kernel'],
  ['epoll', 'epoll'],
  ['io_uring', 'io_uring'],
  ['sk_lookup', 'sk_lookup'],
] as const;

export async function measureRelay(): Promise<PartResult> {
  return await withRelay(async (phones, relay) => {
    const rows: string[][] = [];
    // Twice in turn: single runs on a shared machine vary, neighbours in time compare.
    for (const pass of [1, 2]) {
      for (const [path, what] of ourPaths) {
        const ours = await loadOf(phones, relay, ourCommand(path), 'ready', size);
        rows.push(loadRow(`raftpbx media, ${what}, pass ${pass}`, ours));
      }
      const command = rtpengineCommand();
      const theirs = await loadOf(phones, relay, command, 'Startup complete', size);
      rows.push(loadRow(`rtpengine user space, pass ${pass}`, theirs));
    }
    const { calls, seconds } = size;
    return {
      part: 'relay',
      title: `Relay: ${calls} calls, ${calls * 100} packets a second, beside rtpengine`,
      notes: [
        `172-byte RTP for ${seconds} s over a veth pair, set up with NG offer and answer; every ` +
          'payload is compared at the other end.',
        'CPU is user and system time of the relay process, divided by packets relayed; latency is ' +
          'from the send call of one phone to the kernel time stamp at the other.',
        'Both relays share the processors with the load generator; its own CPU is shown because ' +
          'it should not differ between the rows.',
        'Where the kernel relays (`media.fastPath`), its work is in no process: the first second of ' +
          'the calls is what the relay is charged for, and latency tells the rest. In the other rows ' +
          'threads move all packets, each in the way that is named (`media.packetIo`).',
        'rtpengine runs in user space (`--table=-1`) with two threads.',
      ],
      head: loadColumns,
      rows,
    };
  });
}
