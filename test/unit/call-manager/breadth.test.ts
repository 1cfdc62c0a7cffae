import { expect, test } from 'vitest';
import { breadthOf, breadthOfLeg } from '../../../src/call-manager/calls/breadth.ts';
import type { Leg } from '../../../src/domain/call.ts';
import { limits } from '../../../src/domain/limits.ts';

const leg = (no: number, trunk?: string): Leg => ({
  ...{ no, uri: 'sip:a', state: 'dialing', status: null, dialogId: null },
  ...(trunk === undefined ? {} : { trunk }),
});

test.each([
  [undefined, limits.breadthMax],
  ['7', 7],
  [' 0 ', 0],
  ['99999', limits.breadthMax],
  ['many', limits.breadthMax],
])('a Max-Breadth of %j leaves %d branches', (header, left) => {
  expect(breadthOf(header)).toBe(left);
});

test('the shares of the devices are what there is, and none is without', () => {
  for (let count = 1; count <= limits.legsMax; count += 1) {
    const legs = Array.from({ length: count }, (_, i) => leg(i + 1));
    for (let breadth = count; breadth <= limits.breadthMax; breadth += 1) {
      const shares = legs.map(({ no }) => breadthOfLeg({ breadth, legs }, no));
      expect(shares.reduce((sum, one) => sum + one)).toBe(breadth);
      expect(Math.min(...shares)).toBeGreaterThan(0);
    }
  }
});

test('trunks that are tried one after the other have all that is left', () => {
  const legs = [leg(1, 'first'), leg(2, 'second')];
  expect(legs.map(({ no }) => breadthOfLeg({ breadth: 9, legs }, no))).toEqual([9, 9]);
});
