import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import { type SpiffeId, parseSpiffeId } from '../access/index.ts';
import {
  certificateToPem,
  createRequest,
  generateKey,
  type IdentityRule,
  readIdentityRules,
  writeWorkloadAttributes,
} from '../identity/index.ts';
import { ManualTimers } from '../node/manual-timers.test-helper.ts';
import {
  AgentService,
  type AgentSvid,
  type AttestRequest,
  AttestRequestSchema,
  type AttestResponse,
  type FromAgent,
  FromAgentSchema,
  type FromServer,
  grpcService,
} from '../proto/index.ts';
import { type AgentServer, startAgentServer } from './agents/server.ts';
import type { AgentEvent } from './agents/service.ts';
import { type ControlPlane, type ControlPlaneOptions, openControlPlane } from './identity/control-plane.ts';
import { DEFAULT_AUTHORITY_TTL, type Domain } from './identity/domain.ts';
import { initialise } from './identity/initialise.ts';
import { applyRules } from './identity/rules.ts';
import { makeJoinToken } from './identity/tokens.ts';

const service = grpcService(AgentService);

export const WHO = 'uid:0';
export const HOUR = 3_600_000;

/** A rule that gives /uid/N to every process. */
export const UID_RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/uid/{unix.uid}", ttl: 1h }
`;

export const rulesOf = (yaml: string): IdentityRule[] => readIdentityRules(yaml);

/** A control plane in a directory of its own, with a clock that tests move. */
export class TestPlane {
  readonly dir: string;
  readonly timers: ManualTimers;
  readonly events: AgentEvent[] = [];
  readonly refused: string[] = [];
  readonly faults: unknown[] = [];
  #plane: ControlPlane | undefined;
  #server: AgentServer | undefined;

  private constructor(dir: string, timers: ManualTimers) {
    this.dir = dir;
    this.timers = timers;
  }

  static async make(
    domain: Partial<Domain> = {},
    options: Partial<ControlPlaneOptions> = {},
    now: number = Date.now(),
  ): Promise<TestPlane> {
    const dir = mkdtempSync(join(tmpdir(), 'interlock-server-'));
    const test = new TestPlane(dir, new ManualTimers(now));
    const whole: Domain = {
      trustDomain: 'example.org',
      algorithm: 'ec-p256',
      authorityTtl: DEFAULT_AUTHORITY_TTL,
      root: 'self',
      ...domain,
    };
    await initialise(dir, whole, WHO, test.timers);
    await test.open(options);
    if (whole.root === 'self') await test.plane.authorities.prepare(WHO);
    return test;
  }

  /** Opens the state, as a start of the process does. */
  async open(options: Partial<ControlPlaneOptions> = {}): Promise<void> {
    this.#plane = await openControlPlane({ state: this.dir, timers: this.timers, ...options });
  }

  get plane(): ControlPlane {
    if (this.#plane === undefined) throw new TypeError('the plane is not open');
    return this.#plane;
  }

  get server(): AgentServer {
    if (this.#server === undefined) throw new TypeError('the plane is not serving');
    return this.#server;
  }

  async serve(): Promise<AgentServer> {
    this.#server = await startAgentServer({
      plane: this.plane,
      timers: this.timers,
      host: '127.0.0.1',
      port: 0,
      onEvent: (event) => this.events.push(event),
      onRefused: (address, reason) => this.refused.push(`${address}: ${reason}`),
      onFault: (error) => this.faults.push(error),
      onChange: () => {},
    });
    return this.#server;
  }

  async apply(yaml: string): Promise<void> {
    await applyRules(WHO, rulesOf(yaml), this.plane.registry, this.plane.recorder);
  }

  async token(agent: string, attributes = {}, ttlMs = HOUR): Promise<string> {
    const { authorities, recorder } = this.plane;
    const made = await makeJoinToken(WHO, { agent, ttlMs, attributes }, authorities, recorder, this.timers);
    return made.token;
  }

  /** Attests a node by a new join token and gives its agent. */
  async agent(name: string): Promise<TestAgent> {
    const agent = new TestAgent(this);
    await agent.attest('join_token', await this.token(name));
    return agent;
  }

  async close(): Promise<void> {
    this.#server?.kill();
    this.#server = undefined;
    await this.#plane?.close();
    this.#plane = undefined;
  }

  async remove(): Promise<void> {
    await this.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Where an agent connects. */
export interface Reachable {
  readonly plane: Pick<ControlPlane, 'registry'>;
  readonly server: { readonly port: number };
}

/** A node agent as small as can be. */
export class TestAgent {
  readonly #test: Reachable;
  readonly #key = generateKey('ec-p256');
  #svid: AgentSvid | undefined;

  constructor(test: Reachable) {
    this.#test = test;
  }

  get id(): SpiffeId {
    return parseSpiffeId(this.#svid?.spiffeId ?? '');
  }

  get chain(): Buffer[] {
    return (this.#svid?.chain ?? []).map((der) => Buffer.from(der));
  }

  client(to: Reachable = this.#test): Client {
    const { ownBundle } = to.plane.registry;
    const roots = Buffer.from(ownBundle.x509Authorities.map(certificateToPem).join(''));
    const key = Buffer.from(this.#key.export({ type: 'pkcs8', format: 'pem' }));
    const tls =
      this.#svid === undefined
        ? credentials.createSsl(roots, null, null, { checkServerIdentity: () => undefined })
        : credentials.createSsl(roots, key, Buffer.from(this.chain.map(certificateToPem).join('')), {
            checkServerIdentity: () => undefined,
          });
    return new Client(`127.0.0.1:${to.server.port}`, tls, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.ssl_target_name_override': 'interlock-server',
      'grpc.max_receive_message_length': -1,
    });
  }

  /** Takes the identity of another certificate for the same key. */
  wear(chain: readonly Uint8Array[]): void {
    if (this.#svid !== undefined) this.#svid = { ...this.#svid, chain: [...chain] };
  }

  csr(): Buffer {
    return createRequest(this.#key);
  }

  /** Rejects with the gRPC error. */
  attest(
    attestor: string,
    payload: string | Uint8Array,
    csr: Uint8Array = this.csr(),
    to: Reachable = this.#test,
  ): Promise<AgentSvid> {
    const client = this.client(to);
    return new Promise<AgentSvid>((resolve, reject) => {
      const call: ClientDuplexStream<AttestRequest, AttestResponse> = client.makeBidiStreamRequest(
        service.attest.path,
        service.attest.requestSerialize,
        service.attest.responseDeserialize,
      );
      call.on('error', reject);
      call.on('data', ({ step }: AttestResponse) => {
        if (step.case !== 'svid') return;
        this.#svid = step.value;
        call.end();
        resolve(step.value);
      });
      const evidence = typeof payload === 'string' ? Buffer.from(payload) : payload;
      call.write(
        create(AttestRequestSchema, { step: { case: 'start', value: { attestor, payload: evidence, csr } } }),
      );
    }).finally(() => client.close());
  }

  connect(
    options: { rulesVersion?: bigint; to?: Reachable; takesTargets?: boolean; held?: string[] } = {},
  ): TestConnection {
    const held = options.held?.map((serial) => Buffer.from(serial, 'hex'));
    return new TestConnection(
      this.client(options.to),
      options.rulesVersion ?? 0n,
      options.takesTargets,
      held,
    );
  }
}

type Message = FromServer['message'];
type Case = Exclude<Message['case'], undefined>;
type Of<Name extends Case> = Extract<Message, { case: Name }>['value'];

/** An agent's stream: everything that came, and what is waited for. */
export class TestConnection {
  readonly messages: Message[] = [];
  /** The error that ended it, or undefined while it is open; null where it ended without one. */
  ended: ServiceError | null | undefined;
  readonly #call: ClientDuplexStream<FromAgent, FromServer>;
  readonly #client: Client;
  #waiting: (() => void)[] = [];
  #request = 1n;
  readonly #taken = new Set<Message>();

  constructor(client: Client, rulesVersion: bigint, takesTargets = true, held: Buffer[] = []) {
    this.#client = client;
    this.#call = client.makeBidiStreamRequest(
      service.connect.path,
      service.connect.requestSerialize,
      service.connect.responseDeserialize,
    );
    this.#call.on('data', ({ message }: FromServer) => {
      this.messages.push(message);
      this.#wake();
    });
    this.#call.on('error', (error: ServiceError) => {
      this.ended ??= error;
      this.#wake();
    });
    this.#call.on('end', () => {
      // An error follows the end of the data.
      setImmediate(() => {
        this.ended ??= null;
        this.#wake();
      });
    });
    this.send({
      case: 'hello',
      value: { $typeName: 'interlock.agent.v1.Hello', version: 'test', rulesVersion, held, takesTargets },
    });
  }

  send(message: FromAgent['message']): void {
    this.#call.write(create(FromAgentSchema, { message }));
  }

  /** The next message of a kind that was not taken yet, and fits; rejects when the stream ends. */
  async next<Name extends Case>(
    name: Name,
    fits: (value: Of<Name>) => boolean = () => true,
  ): Promise<Of<Name>> {
    for (;;) {
      for (const message of this.messages) {
        // `case` tells which value it is.
        if (message.case !== name || this.#taken.has(message) || !fits(message.value as Of<Name>)) continue;
        this.#taken.add(message);
        return message.value as Of<Name>;
      }
      if (this.ended !== undefined) throw this.ended ?? new Error('the stream ended');
      await this.#change();
    }
  }

  /** Resolves with the error that ends the stream, or null. */
  async end(): Promise<ServiceError | null> {
    while (this.ended === undefined) await this.#change();
    return this.ended;
  }

  /** Waits for the states that come at once. */
  async states() {
    return {
      bundles: await this.next('bundles'),
      revocations: await this.next('revocations'),
      rules: await this.next('rules'),
    };
  }

  confirm(versions: { bundles: bigint; rules: bigint; revocations: bigint }): void {
    this.send({
      case: 'confirm',
      value: {
        $typeName: 'interlock.agent.v1.Confirm',
        bundlesVersion: versions.bundles,
        rulesVersion: versions.rules,
        revocationsVersion: versions.revocations,
      },
    });
  }

  /** Asks for an SVID of a process of this uid; rejects with the refusal. */
  async sign(
    uid: number,
    over: { spiffeId?: string; rule?: string; csr?: Uint8Array; replaces?: string } = {},
  ) {
    const request = this.#request++;
    this.send({
      case: 'signX509',
      value: {
        $typeName: 'interlock.agent.v1.SignX509',
        request,
        spiffeId: over.spiffeId ?? `spiffe://example.org/uid/${uid}`,
        rule: over.rule ?? 'by-uid',
        attributes: writeWorkloadAttributes({ unix: { uid, gid: uid, groups: [] } }),
        csr: over.csr ?? createRequest(generateKey('ec-p256')),
        replaces: Buffer.from(over.replaces ?? '', 'hex'),
      },
    });
    const answer = await Promise.race([
      this.next('signedX509', (value) => value.request === request),
      this.next('refused', (value) => value.request === request).then((refused) => {
        throw Object.assign(new Error(refused.message), refused);
      }),
    ]);
    return { chain: answer.chain.map((der) => Buffer.from(der)), authority: answer.authority };
  }

  close(): void {
    this.#call.cancel();
    this.#client.close();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
