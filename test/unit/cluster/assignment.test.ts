import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Candidate, chooseServer } from '../../../src/cluster/assignment.ts';

const candidate = (name: string, load: number, more: Partial<Candidate> = {}): Candidate => ({
  name,
  roles: ['media'],
  state: 'up',
  load,
  capacity: 100,
  ...more,
});

test('the least loaded server gets the call', () => {
  const servers = [candidate('media-1', 5), candidate('media-2', 3)];
  expect(chooseServer('media', servers)?.name).toBe('media-2');
});

test('load counts relative to capacity', () => {
  const servers = [candidate('big', 10, { capacity: 1000 }), candidate('small', 5)];
  expect(chooseServer('media', servers)?.name).toBe('big');
});

test('of equals the first by name gets it, in whatever order they are listed', () => {
  const servers = [candidate('media-2', 3), candidate('media-1', 3)];
  expect(chooseServer('media', servers)?.name).toBe('media-1');
});

test.each(['down', 'draining', 'disabled'] as const)('a server that is %s gets none', (state) => {
  expect(chooseServer('media', [candidate('media-1', 0, { state })])).toBeNull();
});

test('a full server gets none, nor one of another role', () => {
  const servers = [candidate('media-1', 100), candidate('cm-1', 0, { roles: ['call-manager'] })];
  expect(chooseServer('media', servers)).toBeNull();
});

test('a burst that is counted as it is given out is shared evenly', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 200 }), (n, calls) => {
      const servers = Array.from({ length: n }, (_, i) => candidate(`media-${i}`, 0));
      for (let i = 0; i < calls; i += 1) {
        const chosen = chooseServer('media', servers);
        if (chosen !== null) {
          chosen.load += 1;
        }
      }
      const loads = servers.map((server) => server.load);
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
    }),
  );
});
