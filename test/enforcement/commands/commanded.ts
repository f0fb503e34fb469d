import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../../src/access/index.ts';
import { main } from '../../../src/cli/cli.ts';
import { EXIT } from '../../../src/cli/exit.ts';
import { Terminal } from '../../../src/cli/terminal.ts';
import {
  type AgentAttributes,
  certificateToPem,
  createRequest,
  generateKey,
  writeWorkloadAttributes,
} from '../../../src/identity/index.ts';
import { TestProxy } from '../../../src/server/enforcement/enforcement.test-helper.ts';
import { Opened, Plane, type PlaneOptions } from '../../identity/harness.ts';

export const CART = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
export const WEB = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
const RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-account }
spec:
  spiffeId: /ns/{k8s.namespace}/sa/{k8s.service_account}
  selectors: ["k8s:ns:shop"]
`;
export const POLICY = (name: string, path = '/a', tier = 'experimental') => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  tier: ${tier}
  protects: { workload: ${CART} }
  rules: [{ name: web, from: [{ workload: ${WEB} }], to: [{ http: { methods: [GET], paths: ["${path}"] } }] }]
`;

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A stream that keeps what it is given: a terminal of 80 columns, or a pipe. */
function sink(isTerminal: boolean) {
  const said = { text: '' };
  const write = new Writable({
    write(chunk, _encoding, done) {
      said.text += String(chunk);
      done();
    },
  });
  return { said, stream: Object.assign(write, isTerminal ? { isTTY: true, columns: 80 } : {}) };
}

/** A control plane, anew for each test of a file, and the commands that talk to it. */
export class Commanded {
  readonly opened = new Opened();
  #plane: Plane | undefined;
  #dir = '';

  /** Hooks one into the file whose tests use it. */
  static use(options: PlaneOptions = {}): Commanded {
    const made = new Commanded();
    beforeEach(async () => {
      made.#plane = await Plane.start(made.opened, { rules: RULE, ...options });
      made.#dir = made.opened.dir();
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      await made.opened.close();
    });
    return made;
  }

  get plane(): Plane {
    if (this.#plane === undefined) throw new TypeError('no test runs');
    return this.#plane;
  }

  /** For files of the test. */
  get dir(): string {
    return this.#dir;
  }

  /** Runs a command on a terminal of 80 columns, or into a pipe for `--json`. */
  readonly run = async (...args: string[]): Promise<Said> => {
    const isTerminal = !args.includes('--json');
    const [out, err] = [sink(isTerminal), sink(isTerminal)];
    const terminal = new Terminal(out.stream, err.stream, { NO_COLOR: '1' });
    const state = args.includes('--state') ? [] : ['--state', this.plane.state];
    const code = await main([...args, ...state], { terminal, now: Date.now });
    // What the parser of the command line says is wrapped at its own width.
    const shown = `${out.said.text}${code === EXIT.misused.code ? '' : err.said.text}`.split('\n');
    if (isTerminal)
      expect(
        shown.filter((line) => line.length > 80),
        args.join(' '),
      ).toEqual([]);
    return { code, out: out.said.text, err: err.said.text };
  };

  /** What a command prints with `--json`, and its exit code. */
  readonly json = async (...args: string[]): Promise<{ code: number; value: Record<string, unknown> }> => {
    const { code, out, err } = await this.run(...args, '--json');
    return { code, value: JSON.parse(out === '' ? err : out) };
  };

  readonly promote = (to: string, ...more: string[]) =>
    this.run('promote', CART, '--to', to, ...more, '--anyway', 'a test');

  readonly file = (name: string, text: string): string => {
    writeFileSync(join(this.#dir, name), text);
    return join(this.#dir, name);
  };

  /** A client with an SVID of the workload, as its proxy has one. */
  async #clientOf(id: SpiffeId): Promise<Client> {
    const [, , , , namespace = '', , service_account = ''] = id.split('/');
    const agent: AgentAttributes = {
      agent: {
        id: parseSpiffeId('spiffe://example.org/interlock/agent/join_token/n'),
        attestor: 'join_token',
      },
      selectors: [],
      claims: {},
    };
    const pod = { pod_name: 'p', pod_uid: 'u', node_name: 'n', container_name: 'c', image: 'i', labels: {} };
    const attributes = writeWorkloadAttributes({ k8s: { namespace, service_account, ...pod } });
    const key = generateKey('ec-p256');
    const { issuing, registry } = this.plane.serving.plane;
    const request = { spiffeId: id, rule: 'by-account', attributes };
    const { chain } = await issuing.workload(agent, request, createRequest(key), undefined);
    const tls = credentials.createSsl(
      Buffer.from(registry.ownBundle.x509Authorities.map(certificateToPem).join('')),
      Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
      Buffer.from(chain.map(certificateToPem).join('')),
      { checkServerIdentity: () => undefined },
    );
    return new Client(this.plane.address, tls, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.ssl_target_name_override': 'interlock-server',
    });
  }

  /** A proxy of the cart that has its first state in force. */
  readonly proxy = async (instance = 'a', hello: object = {}): Promise<TestProxy> => {
    const made = new TestProxy(await this.#clientOf(CART), { workloads: [CART], instance, ...hello });
    this.opened.later(() => made.close());
    const { version } = await made.next('state');
    made.apply(version);
    await this.applied(instance, Number(version));
    return made;
  };

  /** Waits until a proxy of the cart is known to have a state in force. */
  readonly applied = (instance: string, version: number): Promise<void> =>
    this.known(instance, (point) => point.applied >= version);

  /** Waits until a proxy of the cart is known as it should be. */
  readonly known = (instance: string, fits: (point: Point) => boolean): Promise<void> => {
    const { points } = this.plane.serving.enforcing;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      const point = points.get(`${CART}#${instance}`);
      if (point === undefined || !fits(point)) return;
      stop();
      resolve();
    };
    const stop = points.subscribe(look);
    look();
    return promise;
  };
}

interface Point {
  readonly applied: number;
  readonly connected: boolean;
  readonly fault?: unknown;
}

/** Confirms every state from now on, as long as it is connected. */
export function confirmAll(made: TestProxy): void {
  const confirming = async () => {
    for (;;) made.apply((await made.next('state')).version);
  };
  // It ends with its stream.
  confirming().catch(() => {});
}
