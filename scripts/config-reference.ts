/** Prints `docs/reference/config.md`; `make fix` writes it. */
import { referencePage } from '../src/config/reference.ts';
import { callManagerExample, mediaExample } from '../test/support/config-examples.ts';

process.stdout.write(referencePage({ callManager: callManagerExample, media: mediaExample }));
