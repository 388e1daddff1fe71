import { defineConfig } from 'vitest/config';

// `theirs` runs what can be said of the real pm2; `ours` runs all of it.
const theirs = process.env.UNDER_TEST === 'theirs';

export default defineConfig({
  test: {
    include: theirs ? ['pm/**/*.test.ts'] : ['pm/**/*.test.ts', 'link/**/*.test.ts', 'web/**/*.test.ts'],
    // For a test that hangs. On a busy machine one that works may take many times what it takes on a quiet one.
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // Each file starts daemons, hubs and browsers of its own: two files at a time fill two cores.
    maxWorkers: 2,
    fileParallelism: true,
    globalSetup: ['./lib/prepare.ts'],
  },
});
