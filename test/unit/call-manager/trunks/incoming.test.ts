import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressIn, numberIn } from '../../../../src/call-manager/trunks/incoming.ts';
import { numberPattern } from '../../../../src/domain/trunk.ts';

test.each([
  ['"Ada L." <sip:+4930@h;user=phone>;tag=1', 'Ada L.', '+4930'],
  ['Ada <sips:1001:secret@h>;tag=1', 'Ada', '1001'],
  ['"a <b> \\"c" <sip:1@h>', 'a <b> \\"c', '1'],
  ['sip:+4930;phone-context=x@h;tag=1', '', ''],
  ['<sip:+4930;phone-context=x@h>;tag=1', '', '+4930'],
  ['<tel:+49-(30)-12.3;ext=5>;tag=1', '', '+4930123'],
  ['tel:030;tag=1', '', '030'],
  ['<SIP:%2B49@h>', '', '+49'],
  ['<sip:%zz@h>', '', ''],
  ['<sip:h>', '', ''],
  ['<urn:service:sos>', '', ''],
  [';tag=1', '', ''],
  ['"open <sip:a@h>', '', ''],
])("'%s' is read", (header, name, number) => {
  const address = addressIn(header);
  expect(address.name).toBe(name);
  expect(numberIn(address.uri)).toBe(number);
});

test('whatever comes in is read or not, and never thrown', () => {
  const piece = fc.constantFrom('"', '<', '>', ';', '@', 'sip:', 'tel:', '%', '\\', ':', 'a', '1');
  const text = fc.oneof(
    fc.string(),
    fc.array(piece).map((pieces) => pieces.join('')),
  );
  fc.assert(
    fc.property(text, (header) => {
      const number = numberIn(addressIn(header).uri);
      expect(typeof number).toBe('string');
      // What is shown has passed this, so it cannot break out of a header.
      expect(numberPattern.test(`${number}\r\n`)).toBe(false);
    }),
  );
});
