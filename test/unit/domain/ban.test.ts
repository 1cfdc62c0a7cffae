import { expect, test } from 'vitest';
import { isBannedBy, parseBan } from '../../../src/domain/ban.ts';

const stored = { address: '203.0.113.5', user: null, since: 1, until: 2, times: 1 };

test('a ban is read as the engine writes it, and nothing else is', () => {
  expect(parseBan(JSON.stringify(stored))).toEqual(stored);
  for (const text of ['', '{}', 'null', '{"address":1}', '{"address":"x","since":1}']) {
    expect(parseBan(text)).toBeNull();
  }
});

test('a ban of an IPv6 network covers each of its addresses', () => {
  const ban = { ...stored, address: '2001:db8:1:2::' };
  expect(isBannedBy(ban, '2001:DB8:1:2:3:4:5:6')).toBe(true);
  expect(isBannedBy(ban, '2001:db8:1:2::9')).toBe(true);
  expect(isBannedBy(ban, '2001:db8:1:3::')).toBe(false);
  expect(isBannedBy(ban, '203.0.113.5')).toBe(false);
  expect(isBannedBy(stored, '203.0.113.5')).toBe(true);
  expect(isBannedBy(stored, '203.0.113.6')).toBe(false);
});
