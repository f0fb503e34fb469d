// A control plane over a made-up estate, with policies for part of it, that serves the console.
// `node test/console/map-plane.ts 1000 7090` keeps one for looking at.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { propose } from '../../src/learning/index.ts';
import { type AccessPolicy, writePolicies } from '../../src/policy/index.ts';
import {
  apiApp,
  initialise,
  localCaller,
  realTimers,
  type Serving,
  serveIdentity,
} from '../../src/server/index.ts';
import { openSqliteStore } from '../../src/store/index.ts';
import { type EstateSize, estateEvidence, SIZES, workloadsOf } from './map-estate.ts';

/** One running control plane; close it. */
export class MapPlane {
  readonly serving: Serving;
  readonly #state: string;

  private constructor(serving: Serving, state: string) {
    this.serving = serving;
    this.#state = state;
  }

  /** Makes the estate in a directory of its own, or in an empty one that is given. */
  static async open(
    size: EstateSize,
    consoleDir?: string,
    port = 0,
    state = mkdtempSync(join(tmpdir(), 'interlock-map-')),
  ): Promise<MapPlane> {
    const now = Date.now();
    const store = openSqliteStore(state, { create: true });
    const files = [{ name: 'estate', digest: '00', bytes: 1 }];
    await store.addRecording({ format: 'envoy', files, takenAt: now }, estateEvidence(size, now));
    await store.close();
    const settings = {
      trustDomain: 'example.org',
      algorithm: 'ec-p256',
      authorityTtl: 30 * 86_400_000,
      root: 'self',
    } as const;
    await initialise(state, settings, 'local:map', realTimers);
    const serving = await serveIdentity({
      state,
      listen: { host: '127.0.0.1', port: 0 },
      http: { host: '127.0.0.1', port, ...(consoleDir === undefined ? {} : { consoleDir }) },
      timers: realTimers,
      log: { info() {}, warn() {}, error: (fields) => console.error(fields) },
      version: 'test',
    });
    const plane = new MapPlane(serving, state);
    await plane.#protect(size);
    return plane;
  }

  get origin(): string {
    return this.serving.http?.origin ?? '';
  }

  /** A link that signs in, once. */
  async link(): Promise<string> {
    const made = await this.serving.makeLink?.();
    if (made === undefined) throw new TypeError('nobody signs in here');
    return made.url;
  }

  /** Asks as the owner of the state. */
  async ask(path: string, method = 'GET', body?: unknown): Promise<Record<string, unknown>> {
    const answer = await apiApp(this.serving.api, localCaller).request(path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    // Every answer of the API is an object.
    const json = (await answer.json()) as Record<string, unknown>;
    if (!answer.ok) throw new Error(`${method} ${path}: ${JSON.stringify(json)}`);
    return json;
  }

  async close(): Promise<void> {
    await this.leave();
    rmSync(this.#state, { recursive: true, force: true });
  }

  /** Ends the control plane; its state stays. */
  leave(): Promise<void> {
    return this.serving.close();
  }

  /** Two workloads of three have a policy; some lack a rule, some have one that nobody uses; some are in shadow. */
  async #protect(size: EstateSize): Promise<void> {
    const all = workloadsOf(size);
    const { policies } = propose(this.serving.api.estate.current.graph);
    const every = size.workloads < 200 ? 4 : 12;
    const changed = policies
      .filter((_, i) => i % 3 !== 2)
      .map((policy, i): AccessPolicy => {
        const { rules } = policy.spec;
        const [first] = rules;
        if (first === undefined) return policy;
        if (i % every === 1 && rules.length > 1)
          return { ...policy, spec: { ...policy.spec, rules: rules.slice(1) } };
        const other = all[(i * 7) % all.length];
        if (i % 9 !== 2 || other === undefined) return policy;
        const unused = { ...first, name: 'never-used', from: [{ workload: other.id }] };
        return { ...policy, spec: { ...policy.spec, rules: [...rules, unused] } };
      });
    for (let i = 0; i < changed.length; i += 200)
      await this.ask('/v1/policies', 'POST', { yaml: writePolicies(changed.slice(i, i + 200)) });
    for (const [i, policy] of changed.entries()) {
      if (i % (every + 1) > 1) continue;
      const id = encodeURIComponent(policy.spec.protects.workload.slice('spiffe://'.length));
      const move = (to: string) =>
        this.ask(`/v1/rollouts/${id}/move`, 'POST', {
          to,
          ...(to === 'shadow' ? { why: 'made up for the map' } : { anyway: 'made up for the map' }),
          ...(to === 'canary' ? { share: 0.5 } : {}),
        });
      await move('shadow');
      if (i % every !== 1) continue;
      await move('canary');
      await move('enforced');
    }
  }
}

if (import.meta.main) {
  const [size = '100', port = '7090'] = process.argv.slice(2);
  const sizes: Readonly<Record<string, EstateSize | undefined>> = SIZES;
  const plane = await MapPlane.open(
    sizes[size] ?? SIZES[100],
    new URL('../../console/dist', import.meta.url).pathname,
    Number(port),
  );
  console.log(await plane.link());
  process.once('SIGTERM', () => void plane.close().then(() => process.exit(0)));
}
