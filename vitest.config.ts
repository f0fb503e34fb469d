import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    reporters: ['default', './scripts/closing-line.ts'],
    setupFiles: ['./scripts/property-seed.ts'],
    // Ends to what went wrong, and no measures of speed: a busy machine may take a minute for a step.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
