import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  bestRoute,
  compareSpecific,
  fits,
  rewrite,
} from '../../../../src/call-manager/routing/number.ts';

test.each([
  ['0.', '0123', true],
  ['0.', '0', false],
  ['.', '7', true],
  ['+49X.', '+4930', true],
  ['+49X.', '+49a0', false],
  ['5550XX', '555012', true],
  ['5550XX', '5550123', false],
  ['Z0', '00', false],
  ['N0', '20', true],
  ['N0', '10', false],
  ['*9#', '*9#', true],
  ['X', 'X', false],
])("'%s' and '%s' fit: %s", (pattern, number, expected) => {
  expect(fits(pattern, number)).toBe(expected);
});

const pattern = fc
  .tuple(
    fc.array(fc.constantFrom('0', '1', '5', '+', 'X', 'Z', 'N'), { maxLength: 5 }),
    fc.boolean(),
  )
  .map(([head, open]) => head.join('') + (open || head.length === 0 ? '.' : ''));
const number = fc
  .array(fc.constantFrom('0', '1', '5', '+'), { minLength: 1, maxLength: 6 })
  .map((digits) => digits.join(''));

test('the best route fits, and does not depend on the order of the routes', () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 8 }), number, fc.integer(), (all, to, turn) => {
      const routes = [...new Set(all)].map((one) => ({ pattern: one }));
      const at = routes.length === 0 ? 0 : Math.abs(turn) % routes.length;
      const turned = [...routes.slice(at), ...routes.slice(0, at)];
      const best = bestRoute(routes, to);
      expect(bestRoute(turned.toReversed(), to)).toEqual(best);
      expect(best === null).toBe(!routes.some((one) => fits(one.pattern, to)));
      if (best !== null) {
        expect(fits(best.pattern, to)).toBe(true);
        // A pattern that is the number itself leaves no doubt.
        const exact = routes.some((one) => one.pattern === to);
        expect(best.pattern === to).toBe(exact);
      }
    }),
  );
});

test('of two patterns one says more, whoever asks', () => {
  fc.assert(
    fc.property(pattern, pattern, (a, b) => {
      expect(Math.sign(compareSpecific(a, b)) + Math.sign(compareSpecific(b, a))).toBe(0);
      expect(compareSpecific(a, b) === 0).toBe(a === b);
    }),
  );
});

test('a number is stripped first and then begun anew', () => {
  expect(rewrite('0301234', { strip: 1, prepend: '+49' })).toBe('+49301234');
  expect(rewrite('0', { strip: 1, prepend: '' })).toBe('');
});
