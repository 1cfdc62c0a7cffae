/**
 * Processor time per participant and frame of a room of 50, ours beside the audio bridge of Janus:
 * `roomload` sends what parties say every 20 ms and counts what each of them hears.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cable, type Place } from './network.ts';
import { finish, start } from './processes.ts';
import { type PartResult, say } from './report.ts';

const seconds = 10;
const parties = 50;
const mixerAddress = '10.79.0.1';
const partyAddress = '10.79.0.2';
const firstPort = 42_000;
const ng = `${mixerAddress}:2223`;
const root = fileURLToPath(new URL('../..', import.meta.url));
const janus = '/usr/bin/janus';
const janusModules = '/usr/lib/x86_64-linux-gnu/janus';

interface Meeting {
  name: string;
  codec: 'PCMU' | 'opus';
  rateHz: number;
  talkers: number;
  /** Microphones that are open in a quiet place. */
  open: number;
}

const meetings: readonly Meeting[] = [
  { name: 'PCMU, 5 talk, 45 listen', codec: 'PCMU', rateHz: 8000, talkers: 5, open: 0 },
  { name: 'PCMU, all talk', codec: 'PCMU', rateHz: 8000, talkers: 50, open: 0 },
  { name: 'Opus 16 kHz, 5 talk, 45 listen', codec: 'opus', rateHz: 16_000, talkers: 5, open: 0 },
  { name: 'Opus 48 kHz, 5 talk, 45 listen', codec: 'opus', rateHz: 48_000, talkers: 5, open: 0 },
  { name: 'Opus 48 kHz, 5 talk, 45 open', codec: 'opus', rateHz: 48_000, talkers: 5, open: 45 },
  { name: 'Opus 48 kHz, all talk', codec: 'opus', rateHz: 48_000, talkers: 50, open: 0 },
];

/** What `roomload` prints. */
interface Load {
  expected: number;
  received: number;
  cpu_us_per_participant_frame: number;
  generator_cpu_s: number;
  late_rounds: number;
}

export async function measureRooms(): Promise<PartResult> {
  const built = await finish(
    ['cargo', 'build', '--quiet', '--release', '--package', 'raftpbx-bench'],
    900_000,
    root,
  );
  if (built.status !== 0) {
    throw new Error(`roomload was not built: ${built.stderr.slice(-500)}`);
  }
  const [phones, mixer] = cable(
    { namespace: 'pbxbnch-rtp', addresses: [partyAddress] },
    { namespace: 'pbxbnch-room', addresses: [mixerAddress] },
  );
  const folder = mkdtempSync(join(tmpdir(), 'pbxbnch-'));
  try {
    const rows: string[][] = [];
    for (const meeting of meetings) {
      rows.push(row(meeting, 'raftpbx media', await measureOurs(phones, mixer, meeting)));
      if (existsSync(janus)) {
        const theirs = await measureJanus(phones, mixer, meeting, folder);
        rows.push(row(meeting, 'Janus audio bridge', theirs));
      }
    }
    return {
      part: 'rooms',
      title: `Rooms: ${parties} parties, everybody hears the others`,
      notes: [
        `Plain RTP for ${seconds} s over a veth pair; every party is sent a packet each 20 ms.`,
        'CPU is user and system time of the mixing process, divided by packets that parties heard.',
        'Speech is a buzz with harmonics in syllables; open microphones send encoded silence.',
        'Janus sends nothing to a party that sends nothing: where 45 only listen it serves five, so ' +
          'its CPU is divided by a tenth. Compare the rows in which all send.',
        ...(existsSync(janus) ? [] : ['Janus is not installed here (Debian package `janus`).']),
      ],
      head: ['room', 'mixer', 'heard', 'missing', 'CPU us/party-frame', 'load CPU s'],
      rows,
    };
  } finally {
    phones.remove();
    mixer.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

function row(meeting: Meeting, mixer: string, load: Load): string[] {
  return [
    meeting.name,
    mixer,
    String(load.received),
    String(Math.max(0, load.expected - load.received)),
    load.cpu_us_per_participant_frame.toFixed(2),
    load.generator_cpu_s.toFixed(1),
  ];
}

async function measureOurs(phones: Place, mixer: Place, meeting: Meeting): Promise<Load> {
  const node = [process.execPath, `${root}src/cli/index.ts`];
  const command = [...node, 'media', '--interface', mixerAddress, '--ng', ng];
  const server = await start(mixer.command([...command, '--ports', '20000-29999']), 'ready');
  try {
    return await load(phones, meeting, server.pid, ['--ng', ng]);
  } finally {
    await server.stop();
  }
}

async function measureJanus(
  phones: Place,
  mixer: Place,
  meeting: Meeting,
  folder: string,
): Promise<Load> {
  const targets = join(folder, 'targets');
  writeJanusConfiguration(folder);
  const configuration = ['-F', folder, '-C', join(folder, 'janus.jcfg')];
  const server = await start(mixer.command([janus, ...configuration]), null);
  try {
    const base = `http://${mixerAddress}:8088/janus`;
    const codec = meeting.codec === 'opus' ? 'opus' : 'pcmu';
    const size = [String(parties), codec, String(meeting.rateHz)];
    const script = [process.execPath, `${root}scripts/bench/janus-room.ts`, base, ...size];
    const ends = [partyAddress, String(firstPort), targets];
    const room = await start(phones.command([...script, ...ends]), 'joined');
    try {
      return await load(phones, meeting, server.pid, ['--targets', targets]);
    } finally {
      await room.stop();
    }
  } finally {
    await server.stop();
  }
}

function writeJanusConfiguration(folder: string): void {
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const folders = `plugins_folder = "${janusModules}/plugins"`;
  const transports = `transports_folder = "${janusModules}/transports"`;
  write(
    'janus.jcfg',
    `general: { configs_folder = "${folder}"; ${folders}; ${transports}; debug_level = 4 }\n`,
  );
  write(
    'janus.plugin.audiobridge.jcfg',
    `general: { local_ip = "${mixerAddress}"; rtp_port_range = "20000-40000" }\n`,
  );
  write(
    'janus.transport.http.jcfg',
    `general: { base_path = "/janus"; http = true; port = 8088; ip = "${mixerAddress}" }\n`,
  );
}

async function load(
  phones: Place,
  meeting: Meeting,
  pid: number,
  room: readonly string[],
): Promise<Load> {
  say(`roomload: ${meeting.name}, ${room[0] === '--ng' ? 'ours' : 'Janus'}`);
  const ends = ['--ip', partyAddress, '--first-port', String(firstPort)];
  const who = ['--parties', parties, '--talkers', meeting.talkers, '--open', meeting.open];
  const sound = ['--codec', meeting.codec, '--rate', meeting.rateHz, '--secs', seconds];
  const words = [...who, ...sound, '--pid', pid].map(String);
  const run = await finish(
    phones.command([`${root}target/release/roomload`, ...room, ...ends, ...words]),
    (seconds + 60) * 1000,
  );
  const line = /^\{.*\}$/m.exec(run.stdout)?.[0];
  if (run.status !== 0 || line === undefined) {
    throw new Error(`roomload failed (${run.status}): ${run.stderr.slice(-500)}`);
  }
  return JSON.parse(line) as Load;
}
