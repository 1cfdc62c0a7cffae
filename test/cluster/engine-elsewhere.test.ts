/**
 * The whole cluster on an engine elsewhere: three Call Managers whose configuration names a
 * `raftpbx sip` on another machine, which here is the phones' own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { planOf } from '../../src/lab/index.ts';
import { expectNothingLeft, onlyCdr, talk } from '../support/call.ts';
import { EngineProcess } from '../support/engine-process.ts';
import {
  domain,
  openLab,
  phonesNamespace,
  type TestLab,
  testLab,
  testTimeoutMs,
} from '../support/lab.ts';

const place = { address: '10.77.0.245', port: 5060 };
const door = `${place.address}:9022`;
const managers = planOf(testLab).servers.filter(({ id }) => id !== null);

let lab: TestLab;
let engine: EngineProcess;
const before = new Map<string, string>();

beforeAll(async () => {
  lab = await openLab();
  const { secret } = lab.credentials.drachtio;
  const listen = [`udp/${place.address}:${place.port}`, `tcp/${place.address}:${place.port}`];
  engine = new EngineProcess({ listen, drachtio: door, secret, namespace: phonesNamespace });
  await engine.start();
  await everywhere((text) => {
    const sip = { domain, engine: `drachtio://${door}`, drachtioSecretFile: 'secrets/drachtio' };
    return stringify({ ...parse(text), sip });
  });
}, testTimeoutMs);

afterAll(async () => {
  await everywhere((_, file) => before.get(file) ?? '');
  await lab?.close();
  await engine?.kill();
}, testTimeoutMs);

/** Changes the configuration of every Call Manager and starts it again, one after the other. */
async function everywhere(change: (text: string, file: string) => string): Promise<void> {
  for (const { name, directory } of managers) {
    const file = join(directory, 'config.yaml');
    const text = readFileSync(file, 'utf8');
    const changed = change(text, file);
    if (!before.has(file)) {
      before.set(file, text);
    }
    await lab.stop(name);
    writeFileSync(file, changed);
    await lab.startAgain(name);
    await lab.untilHealthy();
  }
}

const there = { registrar: place };

test('two phones register there and talk, and the call is recorded', async () => {
  const pair = await lab.pair(there);
  await talk(pair);
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await pair.bob.until('ended', 5000);
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'caller' });
  await expectNothingLeft(lab, pair);
});

test('the next leader goes on: calls that are up stay, and new ones come', async () => {
  const pair = await lab.pair(there);
  await talk(pair);
  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  expect(await pair.bob.bye()).toMatchObject({ status: 200 });
  await pair.alice.until('ended', 30_000);
  await expectNothingLeft(lab, pair);
  const other = await lab.pair(there);
  await talk(other);
  await other.alice.bye();
  await other.bob.until('ended', 10_000);
  await lab.startAgain(name);
  await lab.untilHealthy();
});
