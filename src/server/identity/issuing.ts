import {
  InterlockError,
  isInterlockError,
  parseSpiffeId,
  pathOf,
  type SpiffeId,
} from '../../access/index.ts';
import {
  type AgentAttributes,
  type Certificate,
  type GivenIdentity,
  type IssuedChain,
  matchRule,
  parseRequest,
  readWorkloadAttributes,
  verifyRequest,
} from '../../identity/index.ts';
import type { Change, IssuedKind, NewAuditEntry } from '../../store/index.ts';
import type { SignedCertificate, SignedToken, WorkloadRequest } from '../agents/desk.ts';
import type { Timers } from '../timers.ts';
import type { Authorities } from './authorities.ts';
import type { Asked, Places } from './places.ts';
import type { Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';
import type { SigningAuthority } from './signing-keys.ts';

/** Audiences of one JWT-SVID, and the longest of them. */
const MAX_AUDIENCES = 16;
const MAX_AUDIENCE_LENGTH = 1024;

export interface IssuingOptions {
  readonly registry: Registry;
  readonly authorities: Authorities;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /** Say which of the named authorities signs for a workload, and as what. */
  readonly places: Pick<Places, 'placeOf' | 'tokenPlaceOf'>;
  /** Other control planes may have the same state open: what is known here may be a moment old. */
  readonly isShared?: boolean;
}

/** A leaf to be issued. */
export interface LeafRequest {
  readonly kind: IssuedKind;
  readonly spiffeId: SpiffeId;
  readonly csr: Uint8Array;
  readonly dnsNames?: readonly string[];
  readonly ttl: number;
  /** Absent for the default authority. */
  readonly authority?: string | undefined;
  /** SPIFFE ID of who asks; "" for the control plane itself. */
  readonly agent: string;
  readonly rule: string;
  readonly replaces?: string | undefined;
  /** Stored in the same transaction. */
  readonly also?: (certificate: Certificate) => readonly Change[];
  /** For the audit log; workloads' SVIDs stand in the list of what was issued instead. */
  readonly entry?: (certificate: Certificate) => NewAuditEntry;
}

/** A JWT-SVID to be issued. */
export interface TokenRequest {
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  /** Milliseconds. */
  readonly ttl: number;
  /** Absent for the default authority. */
  readonly authority?: string | undefined;
  /** SPIFFE ID of who asks. */
  readonly agent: string;
  readonly rule: string;
}

/**
 * Issues credentials: what may be issued is decided here again, whatever the agent found; it is recorded before it
 * leaves; and whether it may still leave is looked at once more after that.
 */
export class Issuing {
  readonly #options: IssuingOptions;

  constructor(options: IssuingOptions) {
    this.#options = options;
  }

  /** An X509-SVID for a workload. Throws `forbidden` with the condition that failed, `untrusted`, `unavailable`. */
  async workload(
    agent: AgentAttributes,
    request: WorkloadRequest,
    csr: Uint8Array,
    replaces: string | undefined,
  ): Promise<SignedCertificate> {
    const given = this.#given(agent, request);
    this.refuseRevoked(given.spiffeId);
    const place = await this.#options.places.placeOf(askedFor(given, request));
    return this.leaf({
      kind: 'workload',
      ...place,
      csr,
      dnsNames: given.dnsNames,
      ttl: given.ttl,
      agent: agent.agent.id,
      rule: given.rule,
      replaces,
    });
  }

  /** A JWT-SVID for a workload. */
  async token(
    agent: AgentAttributes,
    request: WorkloadRequest,
    audience: readonly string[],
  ): Promise<SignedToken> {
    const given = this.#given(agent, request);
    const { jwtTtl: ttl, rule } = given;
    this.refuseRevoked(given.spiffeId);
    const { places } = this.#options;
    const { id } = agent.agent;
    const asked = askedFor(given, request);
    const place = await places.tokenPlaceOf(asked, id);
    const order = { audience, ttl, agent: id, rule };
    try {
      return await this.jwt({ ...place, ...order });
    } catch (error) {
      // The control plane abroad that signs for those who were moved is away: nobody is without an identity for it.
      const isAbroad = this.#options.registry.abroad.joined.has(place.authority);
      if (!isAbroad || !isInterlockError(error) || error.code !== 'unavailable') throw error;
      return this.jwt({ ...(await places.placeOf(asked, place.authority)), ...order });
    }
  }

  /** Issues a JWT-SVID: signed here, or by the superior of an authority that signs none; recorded before it leaves. */
  async jwt(request: TokenRequest): Promise<SignedToken> {
    const { authorities, recorder } = this.#options;
    const { spiffeId, audience, agent, rule } = request;
    checkAudience(spiffeId, audience);
    this.refuseRevoked(spiffeId);
    const authority = await authorities.signing(request.authority);
    const signed = await this.#signJwt(authority, request);
    const { issuedAt, expiresAt } = signed;
    await recorder.commit([
      ...this.required(spiffeId, agent),
      {
        change: 'issue',
        svid: {
          serial: tokenIdOf(signed.token),
          kind: 'jwt',
          spiffeId,
          agent,
          rule,
          authority: signed.authority,
          issuedAt,
          notAfter: expiresAt,
        },
      },
    ]);
    this.refuseRevoked(spiffeId);
    this.#refuseWithdrawn(authority);
    return signed;
  }

  async #signJwt(
    { slot, issuer }: SigningAuthority,
    { spiffeId, audience, ttl }: TokenRequest,
  ): Promise<SignedToken> {
    if (slot.jwt !== undefined)
      return { ...issuer.issueJwt({ spiffeId, audience, ttl }), authority: slot.id };
    // Who verifies a token cannot hold it to prefixes: only an authority without them signs, and those between check.
    const superior = this.#options.authorities.superiorOf(slot);
    if (superior !== undefined) return superior.signJwt({ spiffeId, audience, ttl });
    throw new InterlockError(
      'forbidden',
      spiffeId,
      'an authority that is limited to path prefixes signs no JWT-SVIDs, and this one has no parent that would',
    );
  }

  /** Throws what keeps a leaf from being issued for this request, whoever asks: a bad request, or nobody who signs. */
  async assertIssuable(csr: Uint8Array): Promise<void> {
    await verifyRequest(parseRequest(csr));
    await this.#options.authorities.signing();
  }

  /** Issues a leaf: template, sign, check (all in `issueX509`), record, look again. */
  async leaf(request: LeafRequest): Promise<SignedCertificate> {
    const { authorities, recorder, timers } = this.#options;
    const { spiffeId, kind, agent, rule, replaces } = request;
    this.refuseRevoked(spiffeId);
    const authority = await authorities.signing(request.authority);
    const issued = await authority.issuer.issueX509(request);
    const { certificate } = issued;
    const signed = signedOf(issued, spiffeId, authority);
    const svid = {
      serial: signed.serial,
      kind,
      spiffeId,
      agent,
      rule,
      authority: signed.authority,
      issuedAt: timers.now(),
      notAfter: signed.notAfter,
    };
    await recorder.commit(
      [
        ...this.required(spiffeId, agent, kind === 'agent'),
        replaces === undefined ? { change: 'issue', svid } : { change: 'issue', svid, replaces },
        ...(request.also?.(certificate) ?? []),
      ],
      request.entry?.(certificate),
    );
    this.refuseRevoked(spiffeId);
    this.#refuseWithdrawn(authority);
    return signed;
  }

  /** What has to hold when it is recorded: another control plane may have revoked or evicted it a moment ago. */
  required(spiffeId: SpiffeId, agent: string, mayBeNew = false): Change[] {
    if (this.#options.isShared !== true) return [];
    return [{ change: 'require', spiffeId, ...(agent === '' ? {} : { agent, mayBeNew }) }];
  }

  /** Throws `forbidden` for an identity that is revoked. */
  refuseRevoked(spiffeId: SpiffeId): void {
    if (!this.#options.registry.revocations.current.value.spiffeIds.has(spiffeId)) return;
    throw new InterlockError(
      'forbidden',
      spiffeId,
      `the identity ${spiffeId} is revoked: nothing is issued for it`,
    );
  }

  /** The authority may have been withdrawn while its signature was under way. */
  #refuseWithdrawn({ slot }: SigningAuthority): void {
    const current = this.#options.authorities.slots.find(({ id }) => id === slot.id);
    if (current?.taintedAt === undefined && current?.revokedAt === undefined && current !== undefined) return;
    throw new InterlockError('unavailable', slot.id, 'the authority was withdrawn meanwhile: ask again');
  }

  #given(agent: AgentAttributes, request: WorkloadRequest): GivenIdentity {
    const { registry } = this.#options;
    const spiffeId = parseSpiffeId(request.spiffeId);
    const rule = registry.rules.current.value.get(request.rule);
    const name = request.rule.slice(0, 80);
    if (rule === undefined)
      throw new InterlockError('forbidden', spiffeId, `there is no rule "${name}" (any more)`);
    const match = matchRule(rule, readWorkloadAttributes(request.attributes), agent);
    if (!match.matched) {
      throw new InterlockError(
        'forbidden',
        spiffeId,
        `rule "${name}" does not give ${spiffeId} to this workload: ${match.reason}`,
      );
    }
    if (match.identity.spiffeId !== spiffeId) {
      throw new InterlockError(
        'forbidden',
        spiffeId,
        `rule "${name}" gives this workload ${match.identity.spiffeId}, not ${spiffeId}`,
      );
    }
    if (pathOf(spiffeId) === '') throw new InterlockError('invalid_identity', spiffeId, 'an ID needs a path');
    return match.identity;
  }
}

function askedFor({ spiffeId, authority }: GivenIdentity, { takesTargets = false }: WorkloadRequest): Asked {
  return { spiffeId, authority, takesTargets };
}

/** A certificate as it is sent. */
export function signedOf(
  { certificate, chain }: IssuedChain,
  spiffeId: SpiffeId,
  authority: SigningAuthority,
): SignedCertificate {
  const { serial, notAfter } = certificate;
  return { chain, serial, authority: authority.slot.id, spiffeId, notAfter };
}

/** The `jti` of a token that was just made here. */
function tokenIdOf(token: string): string {
  const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  const id = typeof claims === 'object' && claims !== null && 'jti' in claims ? claims.jti : undefined;
  if (typeof id !== 'string') throw new TypeError('a token was made without an ID');
  return id;
}

function checkAudience(id: SpiffeId, audience: readonly string[]): void {
  if (audience.length > MAX_AUDIENCES || audience.some((one) => one.length > MAX_AUDIENCE_LENGTH)) {
    throw new InterlockError(
      'limit',
      id,
      `a JWT-SVID has at most ${MAX_AUDIENCES} audiences of ${MAX_AUDIENCE_LENGTH} characters`,
    );
  }
}
