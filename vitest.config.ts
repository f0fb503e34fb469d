import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    reporters: ['default', './scripts/closing-line.ts'],
    setupFiles: ['./scripts/property-seed.ts'],
    // Most of a test's time is waiting for processes of its own: two at least, also where there are two processors.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Ends to what went wrong, and no measures of speed: a busy machine may take a minute for a step.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    projects: [
      // Modules keep nothing that changes: files share a process, which loads each module once.
      { extends: true, test: { name: 'src', include: ['src/**/*.test.ts'], isolate: false } },
      // Whole programs, and what they leave in their process: a process each.
      { extends: true, test: { name: 'test', include: ['test/**/*.test.ts'] } },
    ],
  },
});
