// A control plane with a shop on top of it: real state, real SVIDs, proxies that confirm and report over gRPC. Browser
// tests and the console's development run against it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import type { Hono } from 'hono';
import type { SpiffeId, Tally } from '../../src/access/index.ts';

import { type Caller, type CallOf, pathOf, type Role, type RouteName, ROUTES } from '../../src/api/index.ts';
import { certificateToPem, createRequest, generateKey } from '../../src/identity/index.ts';
import { ReportSchema } from '../../src/proto/proxy/index.ts';
import {
  apiApp,
  DEFAULT_AUTHORITY_TTL,
  initialise,
  realTimers,
  type ServeOptions,
  type Serving,
  serveIdentity,
} from '../../src/server/index.ts';
import { TestProxy } from '../../src/server/enforcement/enforcement.test-helper.ts';
import { SESSION_COOKIE } from '../../src/server/sign-in/browser-session.ts';
import { SignInDesk } from '../../src/server/sign-in/desk.ts';
import { TestAgent, type TestPlane } from '../../src/server/testing.test-helper.ts';
import { openSqliteStore } from '../../src/store/index.ts';
import { HOSTILE, NAMES, shopEvidence, shopId, type ShopName } from './shop-evidence.ts';

export const OWNER: Caller = { who: 'local:alice', roles: new Set(), isLocal: true };

const RULES = [...NAMES, 'report']
  .map(
    (name) => `---
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: "/ns/${name === 'report' ? 'batch' : 'shop'}/sa/${name}", when: "has(unix.uid)", ttl: 1h }
`,
  )
  .join('');

export interface ShopOptions {
  readonly port?: number;
  /** Without evidence, policies and proxies: as on the first day. */
  readonly isEmpty?: boolean;
  readonly consoleDir?: string;
  /** What collectors saw beside the calls of the shop. */
  readonly also?: (evidence: Tally) => void;
  /** What promotions need, whom to tell: as the control plane is given them. */
  readonly serve?: Pick<ServeOptions, 'gates' | 'notify'>;
}

/** The shop behind a control plane that serves its console. */
export class Shop {
  readonly serving: Serving;
  readonly api: Hono;
  readonly faults: unknown[];
  readonly proxies = new Map<string, TestProxy>();
  readonly #state: string;
  readonly #agents: { close(): void }[] = [];
  readonly #reports = new Map<string, number>();
  /** Proxies that take their states and say nothing. */
  readonly silent = new Set<string>();

  private constructor(serving: Serving, state: string, faults: unknown[]) {
    this.serving = serving;
    this.#state = state;
    this.faults = faults;
    this.api = apiApp(serving.api, () => OWNER, { checkAnswers: true });
  }

  static async open({ port = 0, isEmpty = false, consoleDir, also, serve }: ShopOptions = {}): Promise<Shop> {
    const state = mkdtempSync(join(tmpdir(), 'interlock-console-'));
    const now = Date.now();
    if (!isEmpty) {
      const store = openSqliteStore(state, { create: true });
      const files = [{ name: 'shop.otlp', digest: '00', bytes: 1 }];
      const evidence = shopEvidence(now);
      also?.(evidence);
      await store.addRecording({ format: 'otlp', files, takenAt: now }, evidence);
      await store.close();
    }
    const settings = {
      trustDomain: 'example.org',
      algorithm: 'ec-p256',
      authorityTtl: DEFAULT_AUTHORITY_TTL,
      root: 'self',
    } as const;
    await initialise(state, settings, OWNER.who, realTimers);
    const faults: unknown[] = [];
    const serving = await serveIdentity({
      ...serve,
      state,
      listen: { host: '127.0.0.1', port: 0 },
      http: { host: '127.0.0.1', port, ...(consoleDir === undefined ? {} : { consoleDir }) },
      timers: realTimers,
      log: { info() {}, warn() {}, error: ({ error }) => void faults.push(error) },
      version: '0.1.0',
    });
    const shop = new Shop(serving, state, faults);
    if (!isEmpty) await shop.#fill();
    return shop;
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

  /** A cookie of somebody whom a provider has vouched for, with these roles. */
  async session(...roles: readonly Role[]): Promise<{ name: string; value: string; url: string }> {
    const { signIn } = this.serving.api;
    if (!(signIn instanceof SignInDesk)) throw new TypeError('nobody signs in here');
    const { secret } = await signIn.admit('user:https://issuer.example#bob', roles, 'test');
    return {
      name: `interlock-${new URL(this.origin).port}-${SESSION_COOKIE}`,
      value: secret,
      url: this.origin,
    };
  }

  /** Calls a route as the owner of the state. */
  async call<Name extends RouteName>(name: Name, given: CallOf<Name>): Promise<Record<string, unknown>> {
    const { params, query, body } = given as Record<
      'params' | 'query',
      Record<string, string> | undefined
    > & { body?: unknown };
    const path =
      pathOf(name, params) + (query === undefined ? '' : `?${new URLSearchParams(query).toString()}`);
    const answer = await this.api.request(path, {
      method: ROUTES[name].method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const json = (await answer.json()) as Record<string, unknown>;
    if (!answer.ok) throw new Error(`${name}: ${JSON.stringify(json)}`);
    return json;
  }

  async close(): Promise<void> {
    for (const each of [...this.proxies.values(), ...this.#agents]) each.close();
    await this.serving.close();
    rmSync(this.#state, { recursive: true, force: true });
  }

  async #fill(): Promise<void> {
    await this.call('rules.apply', { body: { yaml: RULES } });
    await this.#startProxies();
    for (const [name, stage] of STAGES) {
      const { yaml } = await this.call('proposals.get', { params: { workload: shopId(name) } });
      await this.call('policies.apply', { body: { yaml: String(yaml) } });
      for (const to of stage)
        await this.call('rollouts.move', {
          params: { workload: shopId(name) },
          body: {
            to,
            why: 'the evidence covers a week',
            // Nobody waits a day in shadow here.
            ...(to === 'shadow' ? {} : { anyway: 'a shop for tests' }),
            ...(to === 'canary' ? { share: 0.5 } : {}),
          },
        });
    }
    const { targetVersion } = await this.call('rollouts.get', { params: { workload: shopId('catalogue') } });
    const version = BigInt(Number(targetVersion));
    this.report('catalogue', {
      flips: [
        flip('catalogue', 'web', HOSTILE, version),
        flip('catalogue', 'recommendation', '/admin', version),
      ],
      plaintext: [
        { from: { address: '10.9.8.7' }, to: shopId('catalogue'), port: 8080, connections: 12n, ...seen() },
      ],
    });
  }

  async #startProxies(): Promise<void> {
    const { port, plane } = this.serving;
    const token = async (agent: string) =>
      String((await this.call('join-tokens.make', { body: { agent } }))['token']);
    // All that an agent of the tests asks of its plane.
    const to = { plane, server: { port }, token } as unknown as TestPlane;
    const agent = new TestAgent(to);
    await agent.attest('join_token', await token('node-1'));
    const connection = agent.connect();
    this.#agents.push(connection);
    const { rules, bundles, revocations } = await connection.states();
    const held = { rules: rules.version, revocations: revocations.version };
    connection.confirm({ ...held, bundles: bundles.version });
    const follow = async () => {
      // Its end is that of the shop.
      for (;;) connection.confirm({ ...held, bundles: (await connection.next('bundles')).version });
    };
    void follow().catch(() => undefined);
    const roots = Buffer.from(plane.registry.ownBundle.x509Authorities.map(certificateToPem).join(''));
    for (const [uid, name] of NAMES.entries()) {
      for (const instance of name === 'catalogue' ? ['a', 'b', 'c'] : ['a']) {
        const key = generateKey('ec-p256');
        const id = shopId(name);
        const { chain } = await connection.sign(1000 + uid, {
          csr: createRequest(key),
          spiffeId: id,
          rule: name,
        });
        const tls = credentials.createSsl(
          roots,
          Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
          Buffer.from(chain.map(certificateToPem).join('')),
          { checkServerIdentity: () => undefined },
        );
        const client = new Client(`127.0.0.1:${port}`, tls, {
          'grpc.use_local_subchannel_pool': 1,
          'grpc.ssl_target_name_override': 'interlock-server',
        });
        this.#follow(`${name}-${instance}`, client, id, instance);
      }
    }
  }

  #follow(name: string, client: Client, id: SpiffeId, instance: string): void {
    const proxy = new TestProxy(client, {
      workloads: [id],
      instance: `vm-${instance}`,
      version: '0.1.0',
      now: BigInt(Date.now()),
    });
    this.proxies.set(name, proxy);
    const confirm = async () => {
      while (proxy.ended === undefined) {
        // What is not a state says that a report was taken.
        const state = await proxy.next('state').catch(() => undefined);
        if (state !== undefined && !this.silent.has(name)) proxy.apply(state.version);
      }
    };
    void confirm();
  }

  /** Evidence of the proxy of a workload. */
  report(name: ShopName, over: object): void {
    const sequence = (this.#reports.get(name) ?? 0) + 1;
    this.#reports.set(name, sequence);
    const value = create(ReportSchema, { sequence: BigInt(sequence), epoch: Buffer.from([1]), ...over });
    this.proxies.get(`${name}-a`)?.send({ case: 'report', value });
  }
}

const STAGES = [
  ['mail', []],
  ['catalogue', ['shadow']],
  ['cart', ['shadow', 'canary']],
  ['checkout', ['shadow']],
  ['payment', ['shadow', 'canary', 'enforced']],
  ['shipping', ['shadow', 'canary', 'enforced']],
] as const;

const seen = () => ({ firstSeen: BigInt(Date.now() - 300_000), lastSeen: BigInt(Date.now() - 20_000) });

function flip(to: ShopName, from: ShopName, path: string, targetVersion: bigint) {
  return {
    from: { spiffeId: shopId(from) },
    to: shopId(to),
    action: { kind: 'http', port: 8080, name: 'GET', text: path },
    before: { allowed: true, decidedBy: 'no-policy' },
    after: { allowed: false, decidedBy: 'no-rule', policy: to },
    count: 3n,
    targetVersion,
    ...seen(),
  };
}
