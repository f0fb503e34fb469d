/** Key algorithms a JWT-SVID may be signed with: JWT-SVID.md section 2.1, from RFC 7518 section 3.1. */
export const JWT_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
] as const;

export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

/** The public half of a key that may sign JWT-SVIDs, with exactly the members of RFC 7518 section 6. */
export type PublicJwk =
  | {
      readonly kty: 'EC';
      readonly crv: 'P-256' | 'P-384' | 'P-521';
      readonly x: string;
      readonly y: string;
    }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

/** A key of a trust domain that signs JWT-SVIDs. */
export interface JwtAuthority {
  /** The `kid`; unique in its bundle. */
  readonly keyId: string;
  /** The one algorithm the key is for. An EC key always has it, by its curve; an RSA key only if its bundle said so. */
  readonly algorithm?: JwtAlgorithm | undefined;
  readonly jwk: PublicJwk;
}

/** The authorities of one trust domain (SPIFFE_Trust_Domain_and_Bundle.md section 3). No authority: trust is withdrawn. */
export interface Bundle {
  /** The trust domain's bare name. */
  readonly trustDomain: string;
  /** DER certificates. */
  readonly x509Authorities: readonly Buffer[];
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** Grows whenever the authorities change. */
  readonly sequence?: number | undefined;
  /** How often others should look for a new bundle, in seconds. */
  readonly refreshHint?: number | undefined;
}

/** Bundles by bare trust domain name. One entry never speaks for another domain: bundles are never merged. */
export type Bundles = ReadonlyMap<string, Bundle>;
