import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { errorTable } from '../../../src/domain/errors.ts';

const page = readFileSync(new URL('../../../docs/reference/errors.md', import.meta.url), 'utf8');

test.each(Object.entries(errorTable))('the page of errors says what %s says', (code, entry) => {
  const { message, sipStatus, httpStatus, fix } = entry;
  expect(page).toContain(`| \`${code}\` | ${message} | ${sipStatus} | ${httpStatus} | ${fix} |`);
});

test('the page of errors names no code of the table that is gone', () => {
  const [table = ''] = page.split('## Outside calls');
  const named = [...table.matchAll(/^\| `(PBX_[A-Z_]+)`/gm)].map((match) => match[1]);
  expect(named).toEqual(Object.keys(errorTable));
});
