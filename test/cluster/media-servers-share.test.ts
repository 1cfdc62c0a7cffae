import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNothingLeft, talk } from '../support/call.ts';
import { openLab, type Pair, type TestLab, testTimeoutMs } from '../support/lab.ts';

const callCount = 6;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('two media servers share the calls', async () => {
  const pairs: Pair[] = [];
  for (let i = 0; i < callCount; i += 1) {
    const pair = await lab.pair();
    await talk(pair);
    pairs.push(pair);
  }

  const servers = (await lab.calls()).map((call) => call.mediaServer);
  expect(servers).toHaveLength(callCount);
  expect(servers.filter((name) => name === 'media-1')).toHaveLength(callCount / 2);
  expect(servers.filter((name) => name === 'media-2')).toHaveLength(callCount / 2);

  for (const pair of pairs) {
    expect(await pair.alice.bye()).toMatchObject({ status: 200 });
    await pair.bob.until('ended', 5000);
    await expect(pair.bob.snapshot()).resolves.toMatchObject({ endedBy: 'remote' });
  }
  await expectNothingLeft(lab, pairs[0] as Pair);
});
