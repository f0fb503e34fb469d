import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { InterlockError, parseSpiffeId, pathOf, trustDomainOf } from '../../access/index.ts';
import {
  type Bundle,
  createRequest,
  exportPkcs8,
  generateKey,
  type GivenIdentity,
  issueAuthority,
  issueX509,
  issuerOf,
  jwtAuthorityOf,
  parseRequest,
  signerOf,
  signJwtSvid,
  type WorkloadAttributes,
} from '../../identity/index.ts';
import { SvidCache } from '../svids/svid-cache.ts';
import { systemTimers } from '../timers.ts';
import { JwtCache } from '../workloads/jwt-cache.ts';
import { type TrustState, WorkloadBook } from '../workloads/workload-book.ts';

const HOUR = 3_600_000;

/** A trust domain with one authority, which signs for real. */
export async function testDomain(trustDomain: string) {
  const key = generateKey('ec-p256');
  const signer = signerOf(key);
  const now = Date.now();
  const root = await issueAuthority({
    trustDomain,
    notBefore: now - 10_000,
    notAfter: now + 24 * HOUR,
    signer,
    random: randomBytes,
  });
  const bundle: Bundle = {
    trustDomain,
    x509Authorities: [root.der],
    jwtAuthorities: [jwtAuthorityOf(signer.keyId, key)],
  };
  return {
    bundle,
    /** For a key of its own, or for that of a request. */
    async svid({ spiffeId, ttl }: GivenIdentity, csr?: Uint8Array) {
      const own = generateKey('ec-p256');
      const leaf = await issueX509({
        spiffeId,
        request: parseRequest(csr ?? createRequest(own)),
        notBefore: Date.now() - 10_000,
        notAfter: Date.now() + ttl,
        issuer: issuerOf(root),
        signer,
        random: randomBytes,
      });
      const { serial, notBefore, notAfter } = leaf;
      const chain = [leaf.der];
      return { spiffeId, serial, chain, key: exportPkcs8(own), notBefore, notAfter, authority: signer.keyId };
    },
    jwt({ spiffeId, jwtTtl }: GivenIdentity, audience: readonly string[]) {
      const issuedAt = Date.now();
      const token = signJwtSvid({
        spiffeId,
        audience,
        now: issuedAt,
        ttl: jwtTtl,
        signer,
        keyId: signer.keyId,
        id: randomUUID(),
      });
      return { spiffeId, token, issuedAt, expiresAt: issuedAt + jwtTtl };
    },
  };
}

/** An identity of example.org, as a rule gives it. */
export function given(path: string, more: Partial<GivenIdentity> = {}): GivenIdentity {
  return {
    rule: path,
    spiffeId: parseSpiffeId(`spiffe://example.org/${path}`),
    dnsNames: [],
    ttl: HOUR,
    jwtTtl: 300_000,
    hint: '',
    federatesWith: [],
    authority: undefined,
    ...more,
  };
}

const moved = (identity: GivenIdentity): GivenIdentity => ({
  ...identity,
  spiffeId: parseSpiffeId(`spiffe://other.example${pathOf(identity.spiffeId)}`),
});

/** The parts behind the agent's services, with rules that a test sets and an authority that signs for real. */
export async function testParts() {
  const own = await testDomain('example.org');
  const other = await testDomain('other.example');
  const control = {
    attributes: { unix: { uid: 1000, gid: 1000, groups: [] } } as WorkloadAttributes,
    rules: (() => [given('web')]) as (attributes: WorkloadAttributes) => readonly GivenIdentity[],
    revoked: new Set<string>(),
    refuse: undefined as Error | undefined,
    /** The process that was attested has ended. */
    ended: false,
    /** The control plane gives the next SVIDs and tokens the IDs of the other trust domain. */
    moves: false,
  };
  const trust: { now: TrustState } = {
    now: {
      version: 1n,
      trustDomain: 'example.org',
      bundles: new Map([own.bundle, other.bundle].map((bundle) => [bundle.trustDomain, bundle])),
      crls: [],
      targets: [],
      local: own.bundle,
    },
  };
  const logged: { fields: Readonly<Record<string, unknown>>; message: string }[] = [];
  const log = {
    info: () => undefined,
    warn: (fields: Readonly<Record<string, unknown>>, message: string) =>
      void logged.push({ fields, message }),
  };
  const nobody: { pid: number | undefined; attributes: WorkloadAttributes }[] = [];
  const svids: SvidCache = new SvidCache({
    timers: systemTimers,
    store: { load: () => new Map(), save: () => undefined, remove: () => undefined },
    sign: async (identity) => {
      if (control.refuse !== undefined) throw control.refuse;
      if (control.moves) return other.svid(moved(identity));
      return trustDomainOf(identity.spiffeId) === 'other.example' ? other.svid(identity) : own.svid(identity);
    },
    onChange: (key) => workloads.svidChanged(key),
    onDropped: () => undefined,
    onRefused: () => undefined,
  });
  svids.setOnline(true);
  const workloads: WorkloadBook = new WorkloadBook({
    timers: systemTimers,
    svids,
    identitiesOf: (attributes) => control.rules(attributes),
    trust: () => trust.now,
    isRevoked: (id) => control.revoked.has(id),
  });
  const jwts = new JwtCache(systemTimers, async (identity, _, audience) =>
    control.moves ? other.jwt(moved(identity), audience) : own.jwt(identity, audience),
  );
  return {
    own,
    other,
    control,
    trust,
    logged,
    nobody,
    svids,
    parts: {
      callers: {
        attributesOf: async () => control.attributes,
        assertAlive: () => {
          if (control.ended) throw new InterlockError('unavailable', 'process 7', 'process 7 has ended');
        },
        pidOf: () => 7,
      },
      workloads,
      jwts,
      timers: systemTimers,
      log,
      onNoIdentity: (pid: number | undefined, attributes: WorkloadAttributes) =>
        void nobody.push({ pid, attributes }),
    },
  };
}

/** Serves a service on a socket of its own, and gives a client of it. `close` ends both. */
export async function serveTest(
  services: readonly (readonly [Parameters<Server['addService']>[0], UntypedServiceImplementation])[],
) {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-api-'));
  const server = new Server();
  for (const [service, implementation] of services) server.addService(service, implementation);
  const address = `unix:${join(dir, 's')}`;
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  const client = new Client(address, credentials.createInsecure());
  return {
    client,
    address,
    close() {
      client.close();
      server.forceShutdown();
      rmSync(dir, { recursive: true });
    },
  };
}

/** The header that every call of the Workload API carries. */
export function header(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

/** Makes a unary call. Rejects with the gRPC error. */
export function ask<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
  metadata = header(),
): Promise<Response> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      (error, response) => (error === null && response !== undefined ? resolve(response) : reject(error)),
    );
  });
}

/** A stream of states, read one after the other. */
export class States<Response> {
  readonly #got: Response[] = [];
  #error: ServiceError | undefined;
  #wake: (() => void) | undefined;
  readonly stream: ClientReadableStream<Response>;

  constructor(stream: ClientReadableStream<Response>) {
    this.stream = stream;
    stream.on('data', (state: Response) => {
      this.#got.push(state);
      this.#wake?.();
    });
    stream.on('error', (error: ServiceError) => {
      this.#error = error;
      this.#wake?.();
    });
  }

  /** The next state. Rejects with the error that ended the stream. */
  async next(): Promise<Response> {
    for (;;) {
      const state = this.#got.shift();
      if (state !== undefined) return state;
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** How many states wait to be read. */
  get waiting(): number {
    return this.#got.length;
  }

  close(): void {
    this.stream.cancel();
  }
}

/** Opens a stream of states. */
export function follow<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
  metadata = header(),
): States<Response> {
  return new States(
    client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
    ),
  );
}
