import { expect, it } from 'vitest';
import { referencePage } from '../../../src/config/reference.ts';
import { callManagerExample, mediaExample } from '../../support/config-examples.ts';
import { readProjectFile } from '../../support/source.ts';

it('the reference of the configuration is what the schema says; make fix writes it', () => {
  const page = referencePage({ callManager: callManagerExample, media: mediaExample });
  expect(readProjectFile('docs/reference/config.md')).toBe(page);
});
