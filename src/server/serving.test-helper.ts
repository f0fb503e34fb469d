import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_AUTHORITY_TTL } from './identity/domain.ts';
import { initialise } from './identity/initialise.ts';
import { serveIdentity } from './serve.ts';
import type { ServeOptions, Serving } from './serve-options.ts';
import { realTimers } from './timers.ts';

/** A control plane of example.org on a state directory of its own. */
export interface TestServing {
  readonly state: string;
  readonly serving: Serving;
  readonly faults: unknown[];
  readonly warnings: string[];
  close(): Promise<void>;
}

/** Sets one up and starts it. */
export async function testServing(over: Partial<ServeOptions> = {}): Promise<TestServing> {
  const state = mkdtempSync(join(tmpdir(), 'interlock-serving-'));
  const timers = over.timers ?? realTimers;
  const settings = {
    trustDomain: 'example.org',
    algorithm: 'ec-p256',
    authorityTtl: DEFAULT_AUTHORITY_TTL,
    root: 'self',
  } as const;
  await initialise(state, settings, 'local:test', timers);
  const faults: unknown[] = [];
  const warnings: string[] = [];
  const serving = await serveIdentity({
    state,
    listen: { host: '127.0.0.1', port: 0 },
    timers,
    log: {
      info: () => {},
      warn: (fields, message) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
      error: ({ error }) => void faults.push(error),
    },
    version: 'test',
    ...over,
  });
  return {
    state,
    serving,
    faults,
    warnings,
    async close() {
      await serving.close();
      rmSync(state, { recursive: true, force: true });
    },
  };
}
