/**
 * Makes a room of plain RTP participants at Janus' audio bridge over its HTTP API, as
 * `janus-room.ts BASE PARTIES CODEC RATE IP FIRST-PORT FILE`. Participant `n` is sent to at port
 * `FIRST-PORT + 2n`; the file gets a line with the address it sends to for each. Says `joined`
 * and keeps the room until it is ended.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const [base = '', parties = '', codec = '', rate = '', ip = '', firstPort = '', file = ''] =
  process.argv.slice(2);

interface JanusReply {
  janus: string;
  sender?: number;
  data?: { id: number };
  plugindata?: { data?: { error?: string; rtp?: { ip: string; port: number } } };
}

let transactions = 0;

async function post(path: string, body: object): Promise<JanusReply> {
  transactions += 1;
  const message = JSON.stringify({ transaction: String(transactions), ...body });
  const response = await fetch(base + path, { method: 'POST', body: message });
  const reply = (await response.json()) as JanusReply;
  const error = reply.plugindata?.data?.error;
  if (reply.janus === 'error' || error !== undefined) {
    throw new Error(`janus refuses: ${error ?? JSON.stringify(reply)}`);
  }
  return reply;
}

/** Janus says nothing when it listens: it is asked until it answers, 10 s at most. */
async function create(patience = 100): Promise<number> {
  try {
    return (await post('', { janus: 'create' })).data?.id ?? 0;
  } catch (error) {
    if (patience === 0) {
      throw error;
    }
    await delay(100);
    return create(patience - 1);
  }
}

const session = await create();
const targets = new Map<number, string>();

/** Where participants are to send to comes as events. */
async function collect(): Promise<void> {
  const response = await fetch(`${base}/${session}?maxev=50`);
  const events = [await response.json()].flat() as JanusReply[];
  for (const { sender, plugindata } of events) {
    const rtp = plugindata?.data?.rtp;
    if (sender !== undefined && rtp !== undefined) {
      targets.set(sender, `${rtp.ip}:${rtp.port}`);
    }
  }
}

const room = 4711;
const handles: number[] = [];
for (let n = 0; n < Number(parties); n += 1) {
  const attach = { janus: 'attach', plugin: 'janus.plugin.audiobridge' };
  const handle = (await post(`/${session}`, attach)).data?.id ?? 0;
  const say = (body: object) => post(`/${session}/${handle}`, { janus: 'message', body });
  if (n === 0) {
    const size = { sampling_rate: Number(rate), allow_rtp_participants: true };
    await say({ request: 'create', room, permanent: false, record: false, ...size });
  }
  const rtp = { ip, port: Number(firstPort) + 2 * n, payload_type: codec === 'opus' ? 111 : 0 };
  await say({ request: 'join', room, codec, rtp });
  handles.push(handle);
}
const deadline = Date.now() + 30_000;
while (targets.size < handles.length && Date.now() < deadline) {
  await collect();
}
const lines = handles.map((handle) => targets.get(handle) ?? '');
if (lines.includes('')) {
  throw new Error(`only ${targets.size} of ${handles.length} participants have joined`);
}
writeFileSync(file, `${lines.join('\n')}\n`);
process.stdout.write(`joined ${lines.length}\n`);
process.on('SIGTERM', () => {
  post(`/${session}`, { janus: 'destroy' }).finally(() => process.exit(0));
});
for (;;) {
  // Without a question now and then the session would end.
  await delay(20_000);
  await post(`/${session}`, { janus: 'keepalive' });
}
