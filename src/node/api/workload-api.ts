import {
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { JsonObject } from '@bufbuild/protobuf';
import { trustDomainOf } from '../../access/index.ts';
import {
  type Bundle,
  derOf,
  formatJwtBundle,
  type GivenIdentity,
  verifyJwtSvid,
  type WorkloadAttributes,
} from '../../identity/index.ts';
import type {
  JWTBundlesRequest,
  JWTBundlesResponse,
  JWTSVIDRequest,
  JWTSVIDResponse,
  ValidateJWTSVIDRequest,
  ValidateJWTSVIDResponse,
  X509BundlesRequest,
  X509BundlesResponse,
  X509SVIDRequest,
  X509SVIDResponse,
} from '../../proto/index.ts';
import type { JwtCache } from '../workloads/jwt-cache.ts';
import type { WorkloadBook, WorkloadState } from '../workloads/workload-book.ts';
import { assertSecurityHeader } from '../socket/index.ts';
import type { Timers } from '../timers.ts';
import type { ApiLog, Call, Callers, OnNoIdentity } from './callers.ts';
import { LatestWriter } from './latest-writer.ts';
import { assertAudience, fault, failureFields, faultOf, withoutSvids } from './status.ts';

/** What the Workload API is served from. */
export interface WorkloadApiParts {
  readonly callers: Callers;
  readonly workloads: WorkloadBook;
  readonly jwts: JwtCache;
  readonly timers: Timers;
  readonly log: ApiLog;
  readonly onNoIdentity: OnNoIdentity;
}

type Unary<Request, Response> = (
  call: ServerUnaryCall<Request, Response>,
  answer: sendUnaryData<Response>,
) => void;

/** The SPIFFE Workload API (SPIFFE_Workload_API.md) as an implementation for grpc-js. */
export function workloadApi(parts: WorkloadApiParts): UntypedServiceImplementation {
  return {
    fetchX509SVID: (call: ServerWritableStream<X509SVIDRequest, X509SVIDResponse>) =>
      stream(parts, call, 'FetchX509SVID', x509Response),
    fetchX509Bundles: (call: ServerWritableStream<X509BundlesRequest, X509BundlesResponse>) =>
      stream(parts, call, 'FetchX509Bundles', x509Bundles),
    fetchJWTBundles: (call: ServerWritableStream<JWTBundlesRequest, JWTBundlesResponse>) =>
      stream(parts, call, 'FetchJWTBundles', jwtBundles),
    fetchJWTSVID: unary(parts, 'FetchJWTSVID', fetchJwt),
    validateJWTSVID: unary(parts, 'ValidateJWTSVID', validateJwt),
  };
}

/** Serves complete states of a workload until it goes, or has no identity any more. */
function stream<Request, Response>(
  parts: WorkloadApiParts,
  call: ServerWritableStream<Request, Response>,
  method: string,
  response: (state: WorkloadState) => Response,
): void {
  let unsubscribe: (() => void) | undefined;
  let over = false;
  const end = () => {
    over = true;
    unsubscribe?.();
  };
  const fail = (error: unknown) => {
    if (over) return;
    end();
    const failed = faultOf(error);
    parts.log.warn(failureFields(method, call.getPeer(), error), failed.details);
    call.emit('error', failed);
  };
  call.on('cancelled', end);
  call.on('close', end);
  const begin = async () => {
    const attributes = await attest(parts, call);
    if (over) return;
    const writer = new LatestWriter<Response>(call);
    const stop = parts.workloads.subscribe(attributes, (state) => {
      try {
        if (over) return;
        parts.callers.assertAlive(call);
        if (state.svids.length === 0) {
          if (state.missing === 'none') parts.onNoIdentity(parts.callers.pidOf(call), attributes);
          throw withoutSvids(state.missing);
        }
        writer.write(response(state));
      } catch (error) {
        fail(error);
      }
    });
    if (over) stop();
    else unsubscribe = stop;
  };
  begin().catch(fail);
}

function unary<Request, Response>(
  parts: WorkloadApiParts,
  method: string,
  run: (parts: WorkloadApiParts, attributes: WorkloadAttributes, request: Request) => Promise<Response>,
): Unary<Request, Response> {
  return (call, answer) => {
    let who: WorkloadAttributes | undefined;
    const work = async () => {
      who = await attest(parts, call);
      return run(parts, who, call.request);
    };
    work().then(
      (response) => answer(null, response),
      (error: unknown) => {
        const failed = faultOf(error);
        parts.log.warn(failureFields(method, call.getPeer(), error), failed.details);
        if (who !== undefined && isWithout(parts, who)) parts.onNoIdentity(parts.callers.pidOf(call), who);
        answer(failed);
      },
    );
  };
}

function isWithout({ workloads }: WorkloadApiParts, attributes: WorkloadAttributes): boolean {
  return workloads.given(attributes).length === 0;
}

async function attest({ callers }: WorkloadApiParts, call: Call): Promise<WorkloadAttributes> {
  assertSecurityHeader(call.metadata);
  return callers.attributesOf(call);
}

function x509Response({ svids, bundles, crls }: WorkloadState): X509SVIDResponse {
  const own = new Set(svids.map(({ spiffeId }) => trustDomainOf(spiffeId)));
  return {
    $typeName: 'X509SVIDResponse',
    svids: svids.map(({ spiffeId, chain, key, hint }) => ({
      $typeName: 'X509SVID',
      spiffeId,
      x509Svid: Buffer.concat(chain),
      x509SvidKey: key,
      bundle: authorities(bundles.get(trustDomainOf(spiffeId))),
      hint,
    })),
    crl: [...crls],
    federatedBundles: byId(
      [...bundles].filter(([domain]) => !own.has(domain)),
      authorities,
    ),
  };
}

function x509Bundles({ bundles, crls }: WorkloadState): X509BundlesResponse {
  return { $typeName: 'X509BundlesResponse', crl: [...crls], bundles: byId(bundles, authorities) };
}

function jwtBundles({ bundles }: WorkloadState): JWTBundlesResponse {
  return {
    $typeName: 'JWTBundlesResponse',
    bundles: byId(bundles, (bundle) => Buffer.from(formatJwtBundle(bundle))),
  };
}

async function fetchJwt(
  { workloads, jwts }: WorkloadApiParts,
  attributes: WorkloadAttributes,
  { audience, spiffeId }: JWTSVIDRequest,
): Promise<JWTSVIDResponse> {
  assertAudience(audience);
  const given = wanted(workloads, workloads.given(attributes), spiffeId);
  if (given.length === 0) throw withoutSvids(workloads.isLimited(attributes) ? 'limit' : 'none');
  const svids = await Promise.all(
    given.map(async (identity) => {
      const { spiffeId, token } = await jwts.get(identity, attributes, audience);
      return { $typeName: 'JWTSVID' as const, spiffeId, svid: token, hint: identity.hint };
    }),
  );
  return { $typeName: 'JWTSVIDResponse', svids };
}

function wanted(
  workloads: WorkloadBook,
  given: readonly GivenIdentity[],
  spiffeId: string,
): readonly GivenIdentity[] {
  return spiffeId === '' ? given : given.filter((identity) => workloads.means(spiffeId, identity.spiffeId));
}

async function validateJwt(
  { workloads, timers }: WorkloadApiParts,
  attributes: WorkloadAttributes,
  { audience, svid }: ValidateJWTSVIDRequest,
): Promise<ValidateJWTSVIDResponse> {
  if (audience === '') throw fault(status.INVALID_ARGUMENT, 'audience must be specified');
  if (svid === '') throw fault(status.INVALID_ARGUMENT, 'svid must be specified');
  const { bundles, missing } = workloads.stateOf(attributes);
  if (missing === 'none' || missing === 'limit') throw withoutSvids(missing);
  try {
    const verified = await verifyJwtSvid(svid, { bundles, audience, now: timers.now() });
    return {
      $typeName: 'ValidateJWTSVIDResponse',
      spiffeId: verified.spiffeId,
      claims: verified.claims as JsonObject,
    };
  } catch (error) {
    // The standard's status for a token that does not validate, whatever the reason.
    throw fault(status.INVALID_ARGUMENT, faultOf(error).details);
  }
}

/** Bundles under the SPIFFE IDs of their trust domains. */
function byId<T>(
  bundles: Iterable<readonly [string, Bundle]>,
  form: (bundle: Bundle) => T,
): Record<string, T> {
  return Object.fromEntries([...bundles].map(([domain, bundle]) => [`spiffe://${domain}`, form(bundle)]));
}

const concatenated = new WeakMap<Bundle, Buffer>();

/** The DER certificates of a bundle one after the other; made once for each bundle. */
function authorities(bundle: Bundle | undefined): Buffer {
  if (bundle === undefined) return Buffer.alloc(0);
  let bytes = concatenated.get(bundle);
  if (bytes === undefined) concatenated.set(bundle, (bytes = derOf(bundle)));
  return bytes;
}
