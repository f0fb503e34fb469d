import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SpiffeId } from '../../src/access/index.ts';
import { applyRules } from '../../src/server/identity/rules.ts';
import { DEFAULT_AUTHORITY_TTL } from '../../src/server/identity/domain.ts';
import { domainOf } from '../../src/server/identity/initialise.ts';
import { setUp } from '../../src/server/identity/set-up.ts';
import { makeJoinToken } from '../../src/server/identity/tokens.ts';
import { makeKeyFile } from '../../src/server/keys/key-file.ts';
import { openDatabasePlace, type SharedPlace } from '../../src/server/place.ts';
import { serveIdentity } from '../../src/server/serve.ts';
import type { ServeOptions, Serving } from '../../src/server/serve-options.ts';
import { HOUR, rulesOf, TestAgent, WHO } from '../../src/server/testing.test-helper.ts';
import { realTimers, type Timers } from '../../src/server/timers.ts';

/** Timers whose clock a test moves on; what waits does so in real time. */
export class MovedTimers implements Timers {
  ahead = 0;
  now = () => Date.now() + this.ahead;
  random = () => realTimers.random();
  after = (ms: number, run: () => void) => realTimers.after(ms, run);
}

export interface PlaneOptions {
  readonly url: string;
  readonly keyFile: string;
  readonly timers?: Timers;
  /** Where the root is made that is kept offline; it is kept in the database where absent. */
  readonly offlineRoot?: string;
  readonly serve?: Partial<ServeOptions>;
}

/** One of several control planes of one database, in this process. */
export class SharedPlane {
  readonly dir: string;
  readonly place: SharedPlace;
  readonly serving: Serving;
  readonly timers: Timers;
  readonly faults: unknown[];
  #isClosed = false;

  private constructor(dir: string, place: SharedPlace, serving: Serving, timers: Timers, faults: unknown[]) {
    this.dir = dir;
    this.place = place;
    this.serving = serving;
    this.timers = timers;
    this.faults = faults;
  }

  static async start({
    url,
    keyFile,
    timers = realTimers,
    offlineRoot,
    serve,
  }: PlaneOptions): Promise<SharedPlane> {
    const dir = mkdtempSync(join(tmpdir(), 'interlock-plane-'));
    const place = await openDatabasePlace({ dir, url, keyFile });
    const faults: unknown[] = [];
    try {
      await place.exclusively(async () => {
        // A child's state is set up by its parent.
        if (serve?.parent !== undefined || (await domainOf(place)) !== undefined) return;
        await setUp({
          state: place,
          who: WHO,
          timers,
          domain: {
            trustDomain: 'example.org',
            algorithm: 'ec-p256',
            authorityTtl: DEFAULT_AUTHORITY_TTL,
            root: offlineRoot === undefined ? 'self' : 'offline',
          },
          ...(offlineRoot && { offlineRoot: { dir: offlineRoot, ttl: 10 * DEFAULT_AUTHORITY_TTL } }),
        });
      });
      const serving = await serveIdentity({
        state: dir,
        place,
        listen: { host: '127.0.0.1', port: 0 },
        timers,
        log: {
          info: () => {},
          warn: () => {},
          error: ({ error }) => faults.push(error),
        },
        version: 'test',
        ...serve,
      });
      return new SharedPlane(dir, place, serving, timers, faults);
    } catch (error) {
      await place.close();
      throw error;
    }
  }

  get plane() {
    return this.serving.plane;
  }

  get server() {
    return { port: this.serving.port };
  }

  get isLeader(): boolean {
    return this.plane.leadership.isLeader;
  }

  /** Resolves when it leads. */
  async leads(): Promise<void> {
    const { leadership } = this.plane;
    await new Promise<void>((resolve) => {
      const stop = leadership.onChange((isLeader) => {
        if (!isLeader) return;
        stop();
        resolve();
      });
      if (!leadership.isLeader) return;
      stop();
      resolve();
    });
  }

  async apply(yaml: string): Promise<void> {
    await applyRules(WHO, rulesOf(yaml), this.plane.registry, this.plane.recorder);
  }

  async token(agent: string): Promise<string> {
    const { authorities, recorder } = this.plane;
    const made = await makeJoinToken(
      WHO,
      { agent, ttlMs: HOUR, attributes: {} },
      authorities,
      recorder,
      this.timers,
    );
    return made.token;
  }

  /** Attests a node here. */
  async agent(name: string): Promise<TestAgent> {
    const agent = new TestAgent(this);
    await agent.attest('join_token', await this.token(name));
    return agent;
  }

  /** Resolves when the state of a feed is as wanted. */
  async until(name: 'slots' | 'bundles' | 'rules' | 'revocations', fits: () => boolean): Promise<void> {
    const feed = this.plane.registry[name];
    await new Promise<void>((resolve) => {
      const stop = feed.subscribe(() => {
        if (!fits()) return;
        stop();
        resolve();
      });
      if (!fits()) return;
      stop();
      resolve();
    });
  }

  activeAuthority(): string | undefined {
    return this.plane.authorities.slots.find(({ state }) => state === 'active')?.id;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.serving.close();
    await this.place.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What there is once it is as wanted: it is looked at again whenever somebody tells of a change. */
export async function whenTold<T>(
  tellers: readonly ((heard: () => void) => () => void)[],
  look: () => Promise<T>,
  fits: (found: T) => boolean,
): Promise<T> {
  for (;;) {
    // What is told while it is being looked at counts.
    const heard = Promise.withResolvers<void>();
    const stops = tellers.map((tell) => tell(heard.resolve));
    try {
      const found = await look();
      if (fits(found)) return found;
      await heard.promise;
    } finally {
      for (const stop of stops) stop();
    }
  }
}

/** Resolves when it is as wanted, of which nobody tells. */
export async function until(fits: () => boolean): Promise<void> {
  while (!fits()) await new Promise<void>((resolve) => void realTimers.after(20, resolve));
}

const keyDirs: string[] = [];
process.once('exit', () => {
  for (const dir of keyDirs) rmSync(dir, { recursive: true, force: true });
});

/** A key file in a directory of its own, until the process ends. */
export function newKeyFile(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-key-'));
  keyDirs.push(dir);
  const file = join(dir, 'sealing.key');
  makeKeyFile(file);
  return file;
}

export const agentId = (name: string) =>
  `spiffe://example.org/interlock/agent/join_token/${name}` as SpiffeId;
