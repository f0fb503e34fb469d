import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { newTokenId, signJwtSvid } from '../jwt/index.ts';
import type { RandomBytes, Signer } from '../keys/index.ts';
import {
  type Certificate,
  createCrl,
  issueAuthority,
  issuerOf,
  type IssuerInfo,
  issueX509,
  parseRequest,
  type RevokedCertificate,
} from '../x509/index.ts';

/** Certificates begin this long before they are made, for clocks that are behind; milliseconds. */
export const BACK_DATE_MS = 10_000;

/** The keys and certificates of one authority, and what it may not make itself. */
export interface AuthorityIssuerOptions {
  /** Its certificate, then the intermediates above it up to the root, with the root only where it is the root. */
  readonly chain: readonly [Certificate, ...Certificate[]];
  readonly signer: Signer;
  /** What signs JWT-SVIDs; absent where the authority makes none. */
  readonly jwt?: { readonly signer: Signer; readonly keyId: string; readonly issuer?: string | undefined };
  readonly trustDomain: string;
  readonly random: RandomBytes;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** A certificate that was issued, with the authorities above it: DER, leaf first, without the root. */
export interface IssuedChain {
  readonly certificate: Certificate;
  readonly chain: readonly Buffer[];
}

/** What to issue to a workload. `ttl` in milliseconds; nothing outlives the authority. */
export interface X509Order {
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
  readonly spiffeId: SpiffeId;
  readonly ttl: number;
  readonly dnsNames?: readonly string[];
}

/** What to issue to a child authority. `prefixes`: absent for no limit, which a limited authority cannot give. */
export interface AuthorityOrder {
  readonly csr: Uint8Array;
  readonly ttl: number;
  readonly prefixes: readonly string[] | undefined;
  readonly pathLength?: number;
}

export interface JwtOrder {
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  readonly ttl: number;
}

/** Everything that one authority signs. It decides nothing: callers have found out who may have what. */
export class AuthorityIssuer {
  readonly #options: AuthorityIssuerOptions;
  readonly #issuer: IssuerInfo;
  /** DER, without the root. */
  readonly #above: readonly Buffer[];

  /** Throws `invalid_certificate` for a certificate that may not issue. */
  constructor(options: AuthorityIssuerOptions) {
    const [certificate, ...parents] = options.chain;
    this.#options = options;
    this.#issuer = issuerOf(certificate, parents);
    this.#above = options.chain.filter((each) => !isRoot(each)).map(({ der }) => der);
  }

  /** When nothing more can be signed, milliseconds since 1970. */
  get notAfter(): number {
    return this.#issuer.notAfter;
  }

  /** An X509-SVID, checked before it is given. Throws `forbidden` outside the authority's area, `conflict` after its end. */
  async issueX509({ csr, spiffeId, ttl, dnsNames = [] }: X509Order): Promise<IssuedChain> {
    const { signer, random } = this.#options;
    const times = this.#times(ttl);
    const request = parseRequest(csr);
    const issuer = this.#issuer;
    const certificate = await issueX509({ request, spiffeId, dnsNames, ...times, issuer, signer, random });
    return { certificate, chain: [certificate.der, ...this.#above] };
  }

  /** The certificate of a child authority. Throws `forbidden` for prefixes outside its own, or one too many below. */
  async issueAuthority({ csr, ttl, prefixes, pathLength }: AuthorityOrder): Promise<IssuedChain> {
    const { signer, random, trustDomain } = this.#options;
    const request = parseRequest(csr);
    const certificate = await issueAuthority({
      trustDomain,
      request,
      prefixes,
      pathLength,
      ...this.#times(ttl),
      issuer: this.#issuer,
      signer,
      random,
    });
    return { certificate, chain: [certificate.der, ...this.#above] };
  }

  /** A JWT-SVID. Throws `forbidden` where the authority makes none, `invalid_token` where it would end at once. */
  issueJwt({ spiffeId, audience, ttl }: JwtOrder): {
    readonly token: string;
    readonly issuedAt: number;
    readonly expiresAt: number;
  } {
    const { jwt, now: clock, random } = this.#options;
    if (jwt === undefined)
      throw new InterlockError('forbidden', spiffeId, `the authority for ${spiffeId} makes no JWT-SVIDs`);
    const { signer, keyId, issuer } = jwt;
    const now = clock();
    const life = Math.min(ttl, this.#issuer.notAfter - now);
    const id = newTokenId(random);
    const token = signJwtSvid({ spiffeId, audience, now, ttl: life, signer, keyId, issuer, id });
    const seconds = (ms: number) => Math.floor(ms / 1000) * 1000;
    return { token, issuedAt: seconds(now), expiresAt: seconds(now + life) };
  }

  /** The list of what it has revoked, DER. */
  crl(revoked: readonly RevokedCertificate[], number: number, life: number): Buffer {
    const { chain, signer, now } = this.#options;
    const thisUpdate = now();
    return createCrl({
      certificate: chain[0],
      signer,
      revoked,
      number,
      thisUpdate,
      nextUpdate: thisUpdate + life,
    });
  }

  #times(ttl: number): { notBefore: number; notAfter: number } {
    const now = this.#options.now();
    // The back-dated beginning would leave a few seconds in which a certificate is signed that has already ended.
    if (now >= this.#issuer.notAfter) {
      const { subject } = this.#issuer.certificate;
      const end = new Date(this.#issuer.notAfter).toISOString();
      throw new InterlockError('conflict', subject, `the authority "${subject}" ended at ${end}`);
    }
    return { notBefore: now - BACK_DATE_MS, notAfter: Math.min(now + ttl, this.#issuer.notAfter) };
  }
}

function isRoot({ subjectName, issuerName }: Certificate): boolean {
  return subjectName.equals(issuerName);
}
