import {
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { pathOf, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import { type Bundles, derOf, formatJwtBundle, type WorkloadAttributes } from '../../identity/index.ts';
import type { delegated, spire } from '../../proto/index.ts';
import type { JwtCache } from '../workloads/jwt-cache.ts';
import type { ServedSvid, WorkloadBook, WorkloadState } from '../workloads/workload-book.ts';
import type { ApiLog, Call, Callers, OnNoIdentity } from './callers.ts';
import { LatestWriter } from './latest-writer.ts';
import { assertAudience, fault, failureFields, faultOf, withoutSvids } from './status.ts';

/** What the Delegated Identity API is served from. */
export interface DelegatedParts {
  readonly callers: Callers;
  /** Attests a process that the delegate names: the agent finds out what it is by itself. */
  readonly attributesOfPid: (pid: number) => Promise<WorkloadAttributes>;
  /** Delegates: a caller with one of these identities may ask for others. */
  readonly delegates: ReadonlySet<SpiffeId>;
  readonly onNoIdentity: OnNoIdentity;
  readonly workloads: WorkloadBook;
  readonly jwts: JwtCache;
  readonly trust: () => Bundles;
  /** Calls back whenever the bundles have changed, until the result is called. */
  readonly onTrust: (listener: () => void) => () => void;
  readonly log: ApiLog;
}

/** Who a request is about: a process, or (refused) selectors that the delegate made up. */
interface About {
  readonly selectors: readonly spire.Selector[];
  readonly pid: number;
}

/** SPIRE's Delegated Identity API as an implementation for grpc-js. */
export function delegatedApi(parts: DelegatedParts): UntypedServiceImplementation {
  return {
    subscribeToX509SVIDs: (
      call: ServerWritableStream<
        delegated.SubscribeToX509SVIDsRequest,
        delegated.SubscribeToX509SVIDsResponse
      >,
    ) =>
      serve(parts, call, 'SubscribeToX509SVIDs', async (write) => {
        const attributes = await subject(parts, call.request);
        return parts.workloads.subscribe(attributes, (state) => write(svidsResponse(state)));
      }),
    subscribeToX509Bundles: (
      call: ServerWritableStream<
        delegated.SubscribeToX509BundlesRequest,
        delegated.SubscribeToX509BundlesResponse
      >,
    ) => serve(parts, call, 'SubscribeToX509Bundles', followTrust(parts, x509Bundles)),
    subscribeToJWTBundles: (
      call: ServerWritableStream<
        delegated.SubscribeToJWTBundlesRequest,
        delegated.SubscribeToJWTBundlesResponse
      >,
    ) => serve(parts, call, 'SubscribeToJWTBundles', followTrust(parts, jwtBundles)),
    fetchJWTSVIDs: (
      call: ServerUnaryCall<delegated.FetchJWTSVIDsRequest, delegated.FetchJWTSVIDsResponse>,
      answer: sendUnaryData<delegated.FetchJWTSVIDsResponse>,
    ) => {
      authorize(parts, call)
        .then(() => fetchJwts(parts, call.request))
        .then(
          (response) => answer(null, response),
          (error: unknown) => answer(failed(parts, call, 'FetchJWTSVIDs', error)),
        );
    },
  };
}

/** Refuses a caller that is no delegate. Gives a check that it still is one. */
async function authorize({ callers, workloads, delegates }: DelegatedParts, call: Call): Promise<() => void> {
  const attributes = await callers.attributesOf(call);
  const check = () => {
    callers.assertAlive(call);
    if (workloads.given(attributes).some(({ spiffeId }) => delegates.has(spiffeId))) return;
    throw fault(status.PERMISSION_DENIED, 'caller not configured as an authorized delegate');
  };
  check();
  return check;
}

/** The process that is asked about. What a delegate says of it is not believed: it could name any workload's. */
function subject(parts: DelegatedParts, { selectors, pid }: About): Promise<WorkloadAttributes> {
  if (selectors.length > 0) {
    throw fault(
      status.INVALID_ARGUMENT,
      'selectors are not taken from a caller: name the process by its pid, and the agent finds them out',
    );
  }
  if (pid <= 0) throw fault(status.INVALID_ARGUMENT, 'a pid must be specified');
  return parts.attributesOfPid(pid);
}

function serve<Request, Response>(
  parts: DelegatedParts,
  call: ServerWritableStream<Request, Response>,
  method: string,
  follow: (write: (response: Response) => void) => Promise<() => void>,
): void {
  let over = false;
  let stop: (() => void) | undefined;
  const end = () => {
    over = true;
    stop?.();
  };
  call.on('cancelled', end);
  call.on('close', end);
  const fail = (error: unknown) => {
    if (over) return;
    end();
    call.emit('error', failed(parts, call, method, error));
  };
  const writer = new LatestWriter<Response>(call);
  const start = async () => {
    const check = await authorize(parts, call);
    if (over) return;
    stop = await follow((response) => {
      try {
        // A delegate that is none any more gets nothing more.
        check();
        if (!over) writer.write(response);
      } catch (error) {
        fail(error);
      }
    });
    if (over) stop();
  };
  start().catch(fail);
}

function failed({ log }: DelegatedParts, call: Call, method: string, error: unknown) {
  const fault = faultOf(error);
  log.warn(failureFields(method, call.getPeer(), error), fault.details);
  return fault;
}

function followTrust<Response>(
  { trust, onTrust }: DelegatedParts,
  response: (bundles: Bundles) => Response,
): (write: (response: Response) => void) => Promise<() => void> {
  return async (write) => {
    write(response(trust()));
    return onTrust(() => write(response(trust())));
  };
}

async function fetchJwts(
  parts: DelegatedParts,
  request: delegated.FetchJWTSVIDsRequest,
): Promise<delegated.FetchJWTSVIDsResponse> {
  const { audience } = request;
  assertAudience(audience);
  const attributes = await subject(parts, request);
  const given = parts.workloads.given(attributes);
  if (given.length === 0) {
    const isLimited = parts.workloads.isLimited(attributes);
    if (!isLimited) parts.onNoIdentity(request.pid, attributes);
    throw withoutSvids(isLimited ? 'limit' : 'none');
  }
  const svids = given.map(async (identity) => {
    const { spiffeId, token, issuedAt, expiresAt } = await parts.jwts.get(identity, attributes, audience);
    return {
      $typeName: 'spire.api.types.JWTSVID' as const,
      token,
      id: spireId(spiffeId),
      issuedAt: seconds(issuedAt),
      expiresAt: seconds(expiresAt),
      hint: identity.hint,
    };
  });
  return {
    $typeName: 'spire.api.agent.delegatedidentity.v1.FetchJWTSVIDsResponse',
    svids: await Promise.all(svids),
  };
}

function svidsResponse(state: WorkloadState): delegated.SubscribeToX509SVIDsResponse {
  const own = new Set(state.svids.map(({ spiffeId }) => trustDomainOf(spiffeId)));
  return {
    $typeName: 'spire.api.agent.delegatedidentity.v1.SubscribeToX509SVIDsResponse',
    x509Svids: state.svids.map(withKey),
    federatesWith: [...state.bundles.keys()]
      .filter((domain) => !own.has(domain))
      .map((domain) => `spiffe://${domain}`)
      .toSorted(),
  };
}

function withKey({ spiffeId, chain, key, notAfter, hint }: ServedSvid): delegated.X509SVIDWithKey {
  return {
    $typeName: 'spire.api.agent.delegatedidentity.v1.X509SVIDWithKey',
    x509Svid: {
      $typeName: 'spire.api.types.X509SVID',
      certChain: [...chain],
      id: spireId(spiffeId),
      expiresAt: seconds(notAfter),
      hint,
    },
    x509SvidKey: key,
  };
}

function spireId(id: SpiffeId): spire.SPIFFEID {
  return { $typeName: 'spire.api.types.SPIFFEID', trustDomain: trustDomainOf(id), path: pathOf(id) };
}

function x509Bundles(bundles: Bundles): delegated.SubscribeToX509BundlesResponse {
  return {
    $typeName: 'spire.api.agent.delegatedidentity.v1.SubscribeToX509BundlesResponse',
    caCertificates: Object.fromEntries(
      [...bundles].map(([domain, bundle]) => [`spiffe://${domain}`, derOf(bundle)]),
    ),
  };
}

function jwtBundles(bundles: Bundles): delegated.SubscribeToJWTBundlesResponse {
  return {
    $typeName: 'spire.api.agent.delegatedidentity.v1.SubscribeToJWTBundlesResponse',
    bundles: Object.fromEntries(
      [...bundles].map(([domain, bundle]) => [`spiffe://${domain}`, Buffer.from(formatJwtBundle(bundle))]),
    ),
  };
}

function seconds(ms: number): bigint {
  return BigInt(Math.floor(ms / 1000));
}
