import { compactVerify } from 'jose';
import { type SpiffeId, spiffeIdOf, trustDomainOf } from '../../access/index.ts';
import {
  type Bundle,
  type Bundles,
  fitsAlgorithm,
  JWT_ALGORITHMS,
  type JwtAlgorithm,
  type JwtAuthority,
  publicKeyOf,
} from '../bundle/index.ts';
import { member } from '../bundle/json.ts';
import { checkAudience, checkTimes, DEFAULT_LEEWAY } from './claims.ts';
import { JwtSvidError } from './fault.ts';
import { type JsonObject, readSegment, splitToken, UNPROVEN } from './token.ts';

/** What a token is verified against. */
export interface JwtSvidContext {
  readonly bundles: Bundles;
  /** What the verifier calls itself; one of them must be among the token's audiences. */
  readonly audience: string | readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
  /** How far the clocks may be apart, in milliseconds; 60,000 where not given. */
  readonly leeway?: number | undefined;
}

/** What a token that was accepted says. */
export interface VerifiedJwtSvid {
  readonly spiffeId: SpiffeId;
  readonly claims: JsonObject;
  /** Milliseconds since 1970, without leeway. */
  readonly expiresAt: number;
  /** The authority that signed it. */
  readonly authority: JwtAuthority;
}

/** Header parameters of JWT-SVID.md section 2; any other must not be there, so `crit`, `jwk` and `x5c` are refused. */
const HEADERS = new Set(['alg', 'kid', 'typ']);
/** A token without `kid` costs a verification for each key that fits; bundles have two or three. */
const MAX_KEYS_TRIED = 16;

/**
 * Verifies a JWT-SVID (JWT-SVID.md sections 2 to 4 and appendix A). What it returns is read from the very octets that
 * were verified. Throws {@link JwtSvidError} with the fault.
 */
export async function verifyJwtSvid(token: string, context: JwtSvidContext): Promise<VerifiedJwtSvid> {
  const { header, payload } = splitToken(token);
  const algorithm = checkHeader(header);
  // Nothing is proven yet: the subject only says in which bundle to look, and is read again below.
  const bundle = bundleFor(subjectOf(readSegment(payload)), context.bundles);
  const keys = candidates(bundle, member(header, 'kid'), algorithm);
  const { octets, authority } = await verifySignature(token, keys, algorithm);

  const claims = readSegment(octets);
  const spiffeId = subjectOf(claims);
  if (trustDomainOf(spiffeId) !== bundle.trustDomain) {
    throw new JwtSvidError('no_bundle', spiffeId, `its key is not one of ${trustDomainOf(spiffeId)}`);
  }
  const expiresAt = checkTimes(claims, spiffeId, context.now, context.leeway ?? DEFAULT_LEEWAY);
  checkAudience(claims, spiffeId, context.audience);
  return { spiffeId, claims, expiresAt, authority };
}

function checkHeader(header: JsonObject): JwtAlgorithm {
  const alg = member(header, 'alg');
  const algorithm = JWT_ALGORITHMS.find((known) => known === alg);
  if (algorithm === undefined) {
    throw new JwtSvidError('algorithm', UNPROVEN, 'its "alg" is not one that JWT-SVIDs may have');
  }
  const typ = member(header, 'typ');
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE') {
    throw new JwtSvidError('type', UNPROVEN, 'its "typ" is neither JWT nor JOSE');
  }
  const kid = member(header, 'kid');
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) {
    throw new JwtSvidError('header', UNPROVEN, 'its "kid" is not a text');
  }
  if (Object.keys(header).some((name) => !HEADERS.has(name))) {
    throw new JwtSvidError('header', UNPROVEN, 'it has a header other than "alg", "kid" and "typ"');
  }
  return algorithm;
}

function subjectOf(claims: JsonObject): SpiffeId {
  const sub = member(claims, 'sub');
  const spiffeId = typeof sub === 'string' ? spiffeIdOf(sub) : undefined;
  if (spiffeId === undefined) throw new JwtSvidError('subject', UNPROVEN, 'its "sub" is not a SPIFFE ID');
  return spiffeId;
}

function bundleFor(spiffeId: SpiffeId, bundles: Bundles): Bundle {
  const trustDomain = trustDomainOf(spiffeId);
  const bundle = bundles.get(trustDomain);
  if (bundle === undefined || bundle.trustDomain !== trustDomain) {
    throw new JwtSvidError('no_bundle', spiffeId, `there is no bundle of ${trustDomain}`);
  }
  if (bundle.jwtAuthorities.length === 0) {
    throw new JwtSvidError('no_bundle', spiffeId, `the bundle of ${trustDomain} has no JWT authority`);
  }
  return bundle;
}

/** The keys that may have signed: the one that `kid` names, or every one that fits the algorithm. */
function candidates(bundle: Bundle, kid: unknown, algorithm: JwtAlgorithm): readonly JwtAuthority[] {
  const named = bundle.jwtAuthorities.filter((key) => kid === undefined || key.keyId === kid);
  const fitting = named.filter((key) => fitsAlgorithm(key, algorithm));
  const { trustDomain } = bundle;
  if (named.length === 0) {
    throw new JwtSvidError('unknown_key', trustDomain, `${trustDomain} has no JWT authority with its "kid"`);
  }
  if (fitting.length === 0) {
    const reason = `its "alg" ${algorithm} does not fit the key of ${trustDomain} that it names`;
    throw new JwtSvidError('unknown_key', trustDomain, reason);
  }
  if (fitting.length > MAX_KEYS_TRIED) {
    const reason = `it names no key, and ${trustDomain} has more than ${MAX_KEYS_TRIED} that may have signed it`;
    throw new JwtSvidError('unknown_key', trustDomain, reason);
  }
  return fitting;
}

async function verifySignature(
  token: string,
  keys: readonly JwtAuthority[],
  algorithm: JwtAlgorithm,
): Promise<{ octets: Uint8Array; authority: JwtAuthority }> {
  for (const authority of keys) {
    try {
      const { payload } = await compactVerify(token, publicKeyOf(authority), { algorithms: [algorithm] });
      return { octets: payload, authority };
    } catch {
      // Whatever jose has against it, it is not proven; the next key may do.
    }
  }
  throw new JwtSvidError('signature', UNPROVEN, 'its signature is not by the key that it names');
}
