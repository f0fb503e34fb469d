import { InterlockError } from '../../access/index.ts';
import type { Attested, AttestContext, NodeAttestor } from './attestor.ts';
import { type ClaimRules, type ClaimTexts, compileClaimRules } from './claim-rules.ts';
import {
  type KeyFinder,
  takeOnce,
  unverifiedIssuer,
  type UsedTokens,
  verifyToken,
} from './token-evidence.ts';
import { discovery, FetchedKeys, type FetchText, givenKeys, isSafeAddress } from './token-keys.ts';

/** One issuer whose tokens make agents: a CI system, a cloud, any OpenID Connect provider. */
export interface OidcIssuer extends ClaimTexts {
  /** The `iss`, exactly. */
  readonly issuer: string;
  /** The `aud` that tokens must have; one that nothing else accepts. */
  readonly audience: string;
  /** CEL over `claims`: whose tokens count. Everybody can have a token of a public issuer, so it is never left out. */
  readonly when: string;
  /** CEL: the agent's name. */
  readonly agent: string;
  /** Keys that are given; without them they are found by discovery. */
  readonly jwks?: unknown;
  /** Gets this issuer's documents, where its servers have an authority of their own. */
  readonly fetchText?: FetchText;
  /** How long an agent's identity lasts at most, milliseconds: a job's longest time. Absent for no end. */
  readonly life?: number;
}

export interface OidcOptions {
  readonly issuers: readonly OidcIssuer[];
  readonly used: UsedTokens;
  readonly fetchText: FetchText;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** A token of a CI job lives minutes; what lives longer than a day is no evidence of a running job. */
const LONGEST_TOKEN = 24 * 3_600_000;

interface Issuer {
  readonly options: OidcIssuer;
  readonly keys: KeyFinder;
  readonly rules: ClaimRules;
}

/** Attests a node by a JWT of an issuer that is set up, each token once. */
export class OidcAttestor implements NodeAttestor {
  readonly name = 'oidc';
  readonly #issuers: ReadonlyMap<string, Issuer>;
  readonly #used: UsedTokens;

  /** Throws `invalid_document` for an issuer that cannot be used. */
  constructor({ issuers, used, fetchText, now }: OidcOptions) {
    const known = new Map<string, Issuer>();
    for (const options of issuers) {
      const { issuer } = options;
      if (known.has(issuer)) throw unusable(issuer, 'it is given twice');
      known.set(issuer, issuerOf(options, fetchText, now));
    }
    this.#issuers = known;
    this.#used = used;
  }

  async attest(payload: Uint8Array, { now }: AttestContext): Promise<Attested> {
    const token = Buffer.from(payload).toString('latin1').trim();
    const named = unverifiedIssuer(token);
    const issuer = named === undefined ? undefined : this.#issuers.get(named);
    if (issuer === undefined) throw unknownIssuer(named);
    const { options, keys, rules } = issuer;
    const verified = await verifyToken(token, {
      subject: options.issuer,
      keys,
      issuer: options.issuer,
      audience: options.audience,
      now,
      longest: LONGEST_TOKEN,
    });
    const subject = typeof verified.claims['sub'] === 'string' ? verified.claims['sub'] : '';
    const { name, claims } = rules.apply(verified.claims, `${options.issuer} ${subject}`);
    // Last, so that a token that is refused for another reason is not used up.
    await takeOnce(this.#used, verified, options.issuer, now);
    return {
      name,
      selectors: [`oidc:issuer:${options.issuer}`, ...(subject === '' ? [] : [`oidc:subject:${subject}`])],
      claims,
      reattestable: true,
      ...(options.life === undefined ? {} : { endsAt: now + options.life }),
    };
  }
}

function issuerOf(options: OidcIssuer, fetchText: FetchText, now: () => number): Issuer {
  const { issuer, audience, when, agent, jwks, life } = options;
  if (!isSafeAddress(issuer) || issuer.includes('?'))
    throw unusable(issuer, 'its address must begin with https://');
  if (audience === '') throw unusable(issuer, 'its audience is empty');
  if (when.trim() === '')
    throw unusable(issuer, 'say in "when" whose tokens count, or write "true" for every token of it');
  if (life !== undefined && !(life >= 60_000)) throw unusable(issuer, 'its life is shorter than a minute');
  return {
    options,
    keys:
      jwks === undefined
        ? new FetchedKeys(issuer, discovery(issuer, options.fetchText ?? fetchText), now).find
        : givenKeys(jwks, issuer),
    rules: compileClaimRules(options, issuer, { name: agent, when }),
  };
}

function unknownIssuer(named: string | undefined): InterlockError {
  if (named === undefined)
    return new InterlockError(
      'invalid_token',
      'oidc',
      'the token is not accepted: it is no signed token with an "iss"',
    );
  const issuer = named.slice(0, 120);
  return new InterlockError(
    'untrusted',
    issuer,
    `the token is not accepted: its issuer "${issuer}" is not set up here`,
  );
}

function unusable(issuer: string, reason: string): InterlockError {
  return new InterlockError('invalid_document', issuer, `issuer ${issuer}: ${reason}`);
}
