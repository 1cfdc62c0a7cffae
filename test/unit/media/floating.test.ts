import { expect, test } from 'vitest';
import { silentLog } from '../../../src/domain/log.ts';
import { FloatingKeeper } from '../../../src/media/floating.ts';

/** A store that knows GET, DEL and conditional SET. */
function store(start: Record<string, string> = {}) {
  const values = new Map(Object.entries(start));
  const execute = async ([command, ...args]: readonly string[]) => {
    if (command === 'MGET') {
      return args.map((key) => values.get(key) ?? null);
    }
    const [key = '', value = '', condition, old] = args;
    const now = values.get(key) ?? null;
    if (command === 'GET') {
      return now;
    }
    if (command === 'DEL') {
      return values.delete(key) ? 1 : 0;
    }
    const may = condition === 'NX' ? now === null : now === old;
    if (may) {
      values.set(key, value);
    }
    return may ? 'OK' : null;
  };
  return { values, execute };
}

function keeper(known: ReturnType<typeof store>, calls: Record<string, number> = {}) {
  const held = new Map(Object.entries(calls));
  const engine = {
    activate: (address: string) => void held.set(address, 0),
    deactivate: (address: string) => held.delete(address),
    held: () => [...held].map(([address, count]) => ({ address, calls: count })),
  };
  const options = { addresses: ['10.0.0.1'], group: ['10.0.0.1', '10.0.0.2'] };
  const { execute } = known;
  const here = { options, name: 'media-1', life: 'b', engine, execute, log: silentLog };
  return { keeper: new FloatingKeeper(here), held };
}

const own = 'media-address:10.0.0.1';
const other = 'media-address:10.0.0.2';

test('an address nobody has is taken, and so is that of an earlier life of ours', async () => {
  for (const start of [{}, { [own]: 'media-1/a' }]) {
    const known = store(start);
    const one = keeper(known);
    await one.keeper.look();
    expect([...one.held.keys()]).toEqual(['10.0.0.1']);
    expect(known.values.get(own)).toBe('media-1/b');
  }
});

test('an address that another server has is waited for', async () => {
  const known = store({ [own]: 'media-2/a' });
  const one = keeper(known);
  await one.keeper.look();
  expect(one.held.size).toBe(0);
  known.values.delete(own);
  await one.keeper.look();
  expect(one.held.size).toBe(1);
});

test('an address that was given to another server goes at once', async () => {
  const known = store({ [own]: 'media-2/a' });
  const one = keeper(known, { '10.0.0.1': 3 });
  await one.keeper.look();
  expect(one.held.size).toBe(0);
  expect(known.values.get(own)).toBe('media-2/a');
});

test('the address of a dead server is given back when its last call has ended', async () => {
  const known = store({ [own]: 'media-1/b', [other]: 'media-1/b' });
  const one = keeper(known, { '10.0.0.1': 0, '10.0.0.2': 1 });
  await one.keeper.look();
  expect(one.held.has('10.0.0.2')).toBe(true);
  one.held.set('10.0.0.2', 0);
  await one.keeper.look();
  expect([...one.held.keys()]).toEqual(['10.0.0.1']);
  expect(known.values.has(other)).toBe(false);
});

test('an address that an earlier life of ours had from another server is given back', async () => {
  const known = store({ [own]: 'media-1/b', [other]: 'media-1/a' });
  await keeper(known, { '10.0.0.1': 0 }).keeper.look();
  expect(known.values.has(other)).toBe(false);
});

test('an address that was given to us and does not come is given back, not at once', async () => {
  const known = store({ [own]: 'media-1/b', [other]: 'media-1/b' });
  const one = keeper(known, { '10.0.0.1': 0 });
  await one.keeper.look();
  expect(known.values.has(other)).toBe(true);
  for (let looks = 0; looks < 5; looks += 1) {
    await one.keeper.look();
  }
  expect(known.values.has(other)).toBe(false);
});

test('without the store everything stays as it is', async () => {
  const broken = { ...store(), execute: () => Promise.reject(new Error('no store')) };
  const one = keeper(broken, { '10.0.0.1': 2 });
  await one.keeper.look();
  expect(one.held.size).toBe(1);
});
