import { Client, credentials } from '@grpc/grpc-js';
import { parseSpiffeId, type SpiffeId } from '../../src/access/index.ts';
import type { EventType } from '../../src/api/index.ts';
import { certificateToPem, createRequest, generateKey } from '../../src/identity/index.ts';
import { type TestIdentity, TestProxy } from '../../src/server/enforcement/enforcement.test-helper.ts';
import type { Fleet } from '../../src/server/enforcement/fleet.ts';
import type { SharedPlane } from './planes.test-helper.ts';

export const uid = (n: number): SpiffeId => parseSpiffeId(`spiffe://example.org/uid/${n}`);

/** A policy of the workload of a uid, which lets that of another one call. */
export const policyOf = (n: number, from: number, path = '/a') => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: p${n} }
spec:
  protects: { workload: ${uid(n)} }
  tier: critical
  stage: shadow
  rules:
    - { name: r, from: [ { workload: "${uid(from)}" } ], to: [ { http: { methods: [GET], paths: ["${path}"] }, ports: [80] } ] }
`;

/** The SVID of a process with that uid, issued at a control plane: it is good at all of its database. */
export async function identityAt(plane: SharedPlane, n: number): Promise<TestIdentity> {
  const agent = (await plane.agent(`n${n}-${Math.random().toString(36).slice(2)}`)).connect();
  const { rules, bundles, revocations } = await agent.states();
  agent.confirm({ rules: rules.version, bundles: bundles.version, revocations: revocations.version });
  const key = generateKey('ec-p256');
  const { chain } = await agent.sign(n, { csr: createRequest(key) });
  agent.close();
  return { id: uid(n), key, chain };
}

/** Proxies that are closed together. */
export class Proxies {
  readonly #open = new Set<TestProxy>();

  /** Connects a proxy to a control plane, and confirms every state that it is sent unless told otherwise. */
  connect(
    plane: SharedPlane,
    { id, key, chain }: TestIdentity,
    { instance = 'a', confirms = true }: { readonly instance?: string; readonly confirms?: boolean } = {},
  ): ConnectedProxy {
    const roots = plane.plane.registry.ownBundle.x509Authorities.map(certificateToPem).join('');
    const tls = credentials.createSsl(
      Buffer.from(roots),
      Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
      Buffer.from(chain.map(certificateToPem).join('')),
      { checkServerIdentity: () => undefined },
    );
    const client = new Client(`127.0.0.1:${plane.server.port}`, tls, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.ssl_target_name_override': 'interlock-server',
    });
    const proxy = new TestProxy(client, { workloads: [id], instance });
    this.#open.add(proxy);
    return new ConnectedProxy(proxy, confirms);
  }

  close(): void {
    for (const each of this.#open) each.close();
    this.#open.clear();
  }
}

interface Enforced {
  readonly stage: string;
  readonly authentication: string;
  readonly released?: { readonly id: string };
  readonly targetVersion?: number;
}

/** A proxy that reads what it is sent, and confirms it. */
export class ConnectedProxy {
  readonly proxy: TestProxy;
  /** What it is to enforce now. */
  state: Enforced | undefined;
  taken = 0;
  #wake: (() => void)[] = [];
  ended = false;

  constructor(proxy: TestProxy, confirms: boolean) {
    this.proxy = proxy;
    void this.#read(confirms);
  }

  async #read(confirms: boolean): Promise<void> {
    let at = 0;
    for (;;) {
      const message = this.proxy.messages[at];
      if (message === undefined) {
        if (this.proxy.ended !== undefined) break;
        await Promise.race([this.proxy.news(), this.proxy.end()]);
        continue;
      }
      at++;
      if (message.case === 'state') {
        const [workload] = message.value.workloads;
        this.state = JSON.parse(Buffer.from(workload?.enforcement ?? []).toString()) as Enforced;
        if (confirms) this.proxy.apply(message.value.version);
      } else if (message.case === 'taken') this.taken = Number(message.value.sequence);
      this.#tell();
    }
    this.ended = true;
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async until(holds: (proxy: this) => boolean): Promise<void> {
    while (!holds(this)) {
      if (this.ended) throw new Error('the stream of the proxy has ended');
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  close(): void {
    this.proxy.close();
  }
}

/** Resolves when the proxies of all control planes, as one of them sees them, are as wanted. */
export async function fleetUntil(fleet: Fleet, holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise<void>((resolve) => {
      const stop = fleet.subscribe(() => {
        stop();
        resolve();
      });
    });
  }
}

/** The stream of events of a control plane, as a console reads it. */
export class EventsOf {
  readonly all: { readonly type: EventType; readonly id: string; readonly at: number }[] = [];
  lastId = '';
  readonly #abort = new AbortController();
  #wake: (() => void)[] = [];

  constructor(plane: SharedPlane, lastId = '') {
    const headers = lastId === '' ? {} : { 'last-event-id': lastId };
    const { body } = plane.serving.api.events.answer(
      new Request('http://127.0.0.1/v1/events', { headers, signal: this.#abort.signal }),
      { who: 'user:test', roles: new Set(['viewer']), isLocal: false },
    );
    if (body !== null) void this.#read(body);
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let text = '';
    try {
      for await (const part of body) {
        text += Buffer.from(part).toString();
        const events = text.split('\n\n');
        text = events.pop() ?? '';
        for (const event of events) this.#take(event);
      }
    } catch {
      // It was ended here.
    }
  }

  #take(event: string): void {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    this.lastId = /^id: (.*)$/m.exec(event)?.[1] ?? this.lastId;
    this.all.push(JSON.parse(data) as (typeof this.all)[number]);
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Resolves at the next event of a type: each is given once. */
  async next(type: EventType, id?: string): Promise<void> {
    for (;;) {
      const at = this.all.findIndex((each) => each.type === type && (id === undefined || each.id === id));
      if (at >= 0) {
        this.all.splice(at, 1);
        return;
      }
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  close(): void {
    this.#abort.abort();
  }
}
