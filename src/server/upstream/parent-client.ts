import type { KeyObject } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import { type ErrorCode, InterlockError, type SpiffeId } from '../../access/index.ts';
import { type Bundles, certificateToPem, createRequest, type JwtOrder } from '../../identity/index.ts';
import {
  AgentService,
  type AgentSvid,
  type AttestRequest,
  AttestRequestSchema,
  type AttestResponse,
  type FromAgent,
  type FromServer,
  grpcService,
  PublishBundleRequestSchema,
  type PublishBundleResponse,
  PublishRevocationsRequestSchema,
  SignAuthorityRequestSchema,
  type SignAuthorityResponse,
  SignChildJwtRequestSchema,
} from '../../proto/index.ts';
import type { BelowRevocations, SignedToken } from '../agents/desk.ts';
import { assertControlPlane, shownCertificates } from '../../workload/index.ts';

const service = grpcService(AgentService);
const CALL_MS = 30_000;
/** For calls that somebody waits for: an agent gives up after 30 s. */
const SHORT_CALL_MS = 10_000;
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

interface UnaryCall<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** Who this control plane is to its parent. */
export interface ChildSvid {
  readonly key: KeyObject;
  /** DER, leaf first. */
  readonly chain: readonly Buffer[];
}

/** Where the parent is, how to know it, and who asks. */
export interface ParentAccess {
  readonly address: string;
  /** The parent's own SPIFFE ID. */
  readonly id: SpiffeId;
  readonly bundles: Bundles;
  readonly crls: readonly Buffer[];
  readonly now: () => number;
  /** Absent before the first attestation. */
  readonly svid?: ChildSvid | undefined;
}

/** A connection to the parent, as long as it is not closed: a new SVID, or new bundles, need a new one. */
export class ParentClient {
  readonly #client: Client;

  constructor(access: ParentAccess) {
    this.#client = clientOf(access);
  }

  /** Attests by a join token. Rejects with the parent's refusal. */
  attest(token: string, key: KeyObject): Promise<AgentSvid> {
    return new Promise((resolve, reject) => {
      const call: ClientDuplexStream<AttestRequest, AttestResponse> = this.#client.makeBidiStreamRequest(
        service.attest.path,
        service.attest.requestSerialize,
        service.attest.responseDeserialize,
        { deadline: Date.now() + CALL_MS },
      );
      call.on('error', (error: ServiceError) => reject(refusal(error)));
      call.on('end', () => reject(new InterlockError('unavailable', 'parent', 'the attestation broke off')));
      call.on('data', ({ step }: AttestResponse) => {
        if (step.case === 'svid') resolve(step.value);
        call.end();
      });
      const value = { attestor: 'join_token', payload: Buffer.from(token), csr: createRequest(key) };
      call.write(create(AttestRequestSchema, { step: { case: 'start', value } }));
    });
  }

  /** Opens the lasting stream. */
  connect(): ClientDuplexStream<FromAgent, FromServer> {
    return this.#client.makeBidiStreamRequest(
      service.connect.path,
      service.connect.requestSerialize,
      service.connect.responseDeserialize,
    );
  }

  /** Has the key of an authority certified. Rejects with the parent's refusal. */
  signAuthority(key: KeyObject, ttlMs: number): Promise<SignAuthorityResponse> {
    const request = create(SignAuthorityRequestSchema, {
      csr: createRequest(key),
      ttlSeconds: Math.floor(ttlMs / 1000),
    });
    return this.#ask(service.signAuthority, request);
  }

  /** Gives the parent the bundle of this control plane's own trust domain. */
  publishBundle(trustDomain: string, document: string): Promise<PublishBundleResponse> {
    const request = create(PublishBundleRequestSchema, {
      bundle: { trustDomain, jwks: Buffer.from(document) },
    });
    return this.#ask(service.publishBundle, request);
  }

  /** Has a JWT-SVID signed by the parent's key, or by that of one above it. Rejects with the parent's refusal. */
  async signJwt({ spiffeId, audience, ttl }: JwtOrder): Promise<SignedToken> {
    const request = create(SignChildJwtRequestSchema, {
      spiffeId,
      audience: [...audience],
      ttlSeconds: Math.floor(ttl / 1000),
    });
    const { token, issuedAt, expiresAt, authority } = await this.#ask(
      service.signChildJwt,
      request,
      SHORT_CALL_MS,
    );
    return { token, issuedAt: Number(issuedAt), expiresAt: Number(expiresAt), authority };
  }

  /** Tells the parent what is revoked here and below. Gives the number of lists and IDs that it did not take. */
  async publishRevocations({ authorities, spiffeIds }: BelowRevocations): Promise<number> {
    const request = create(PublishRevocationsRequestSchema, {
      authorities: authorities.map(({ chain, crl }) => ({ chain: [...chain], crl })),
      spiffeIds: [...spiffeIds],
    });
    const { skipped } = await this.#ask(service.publishRevocations, request, SHORT_CALL_MS);
    return skipped;
  }

  #ask<Request, Response>(
    { path, requestSerialize, responseDeserialize }: UnaryCall<Request, Response>,
    request: Request,
    withinMs = CALL_MS,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        { deadline: Date.now() + withinMs },
        (error, answer) => (answer === undefined ? reject(refusal(error)) : resolve(answer)),
      );
    });
  }

  close(): void {
    this.#client.close();
  }
}

function clientOf({ address, id, bundles, crls, now, svid }: ParentAccess): Client {
  const authorities = [...bundles.values()].flatMap(({ x509Authorities }) => x509Authorities);
  const pem = (ders: readonly Buffer[]) => Buffer.from(ders.map(certificateToPem).join(''));
  const tls = credentials.createSsl(
    pem(authorities),
    svid === undefined ? null : Buffer.from(svid.key.export({ type: 'pkcs8', format: 'pem' })),
    svid === undefined ? null : pem(svid.chain),
    {
      // Called after Node found the chain good: what counts is who it is, by our own verifier.
      checkServerIdentity(_host, certificate) {
        try {
          assertControlPlane(shownCertificates(certificate), id, { bundles, now: now(), crls });
          return undefined;
        } catch (error) {
          return error instanceof Error ? error : new Error(String(error));
        }
      },
    },
  );
  return new Client(address, tls, {
    'grpc.ssl_target_name_override': 'interlock-server',
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  });
}

/** google.rpc.Code of what waiting does not mend. */
const LASTING: ReadonlyMap<number, ErrorCode> = new Map([
  [3, 'usage'],
  [5, 'not_found'],
  [7, 'forbidden'],
  [9, 'conflict'],
  [16, 'untrusted'],
]);

/** The parent's refusal in its own words; everything else is a parent that cannot be asked now. */
export function refusal(error: ServiceError | null): InterlockError {
  const code = LASTING.get(error?.code ?? 0) ?? 'unavailable';
  const text = error?.details || error?.message || 'no answer';
  return new InterlockError(code, 'parent', `the parent: ${text}`, { cause: error });
}
