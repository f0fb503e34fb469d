import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    reporters: ['default', './scripts/closing-line.ts'],
    setupFiles: ['./scripts/property-seed.ts'],
    testTimeout: 120_000,
  },
});
