import { defineConfig } from 'vitest/config';

// One project a kind of test. Cluster tests share one machine's namespaces and addresses, so
// their files run one after the other; everything else runs side by side.
export default defineConfig({
  test: {
    reporters: ['default'],
    projects: [
      { test: { name: 'tidy', include: ['test/tidy.test.ts'] } },
      // Some of them start the program, which takes its time on a busy machine.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          name: 'wire',
          include: ['test/wire/**/*.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          globalSetup: ['test/support/lab-cleanup.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'linearizability',
          include: ['test/linearizability/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
