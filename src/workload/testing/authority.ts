import { randomBytes } from 'node:crypto';
import { parseSpiffeId } from '../../access/index.ts';
import {
  authorityTemplate,
  type Bundle,
  type Certificate,
  createCrl,
  generateKey,
  type IssuerInfo,
  issuerOf,
  jwtAuthorityOf,
  type KeyAlgorithm,
  leafTemplate,
  newSerial,
  newTokenId,
  parseCertificate,
  signCertificate,
  type Signer,
  signerOf,
  signJwtSvid,
  spkiOf,
} from '../../identity/index.ts';
import type { X509Svid } from '../x509-state.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** How long what a test authority signs is valid; milliseconds since 1970. */
export interface Validity {
  readonly notBefore?: number | undefined;
  readonly notAfter?: number | undefined;
}

/** An authority for tests, with its key in the open. */
export class TestAuthority {
  readonly trustDomain: string;
  readonly certificate: Certificate;
  readonly signer: Signer;
  readonly #now: () => number;
  readonly #above: readonly Certificate[];
  readonly #issuer: IssuerInfo;
  readonly #algorithm: KeyAlgorithm;
  #crlNumber = 0;

  constructor(
    trustDomain: string,
    options: {
      now?: () => number;
      algorithm?: KeyAlgorithm;
      parent?: TestAuthority;
      prefixes?: readonly string[];
      validity?: Validity;
    } = {},
  ) {
    const { now = Date.now, algorithm = 'ec-p256', parent, prefixes, validity } = options;
    this.trustDomain = trustDomain;
    this.#now = now;
    this.#algorithm = algorithm;
    const key = generateKey(algorithm);
    this.signer = signerOf(key);
    const template = authorityTemplate({
      trustDomain,
      spki: this.signer.spki,
      notBefore: validity?.notBefore ?? now() - DAY_MS,
      notAfter: validity?.notAfter ?? now() + 30 * DAY_MS,
      serial: newSerial(randomBytes),
      ...(parent === undefined ? {} : { issuer: parent.#issuer }),
      ...(prefixes === undefined ? {} : { prefixes }),
    });
    this.certificate = parseCertificate(signCertificate(template, parent?.signer ?? this.signer));
    this.#above = parent === undefined ? [] : [this.certificate, ...parent.#above];
    this.#issuer = issuerOf(this.certificate, parent === undefined ? [] : parent.#above);
  }

  /** An authority below this one. */
  child(prefixes?: readonly string[]): TestAuthority {
    return new TestAuthority(this.trustDomain, {
      now: this.#now,
      algorithm: this.#algorithm,
      parent: this,
      ...(prefixes === undefined ? {} : { prefixes }),
    });
  }

  /** An SVID for a path of the trust domain, valid for an hour where not said. */
  svid(path: string, validity: Validity = {}, hint = ''): X509Svid {
    const spiffeId = parseSpiffeId(`spiffe://${this.trustDomain}${path}`);
    const key = generateKey(this.#algorithm);
    const template = leafTemplate({
      spiffeId,
      spki: spkiOf(key),
      notBefore: validity.notBefore ?? this.#now() - 10_000,
      notAfter: validity.notAfter ?? this.#now() + HOUR_MS,
      serial: newSerial(randomBytes),
      issuer: this.#issuer,
    });
    const leaf = parseCertificate(signCertificate(template, this.signer));
    return { spiffeId, key, hint, chain: [leaf, ...this.#above], expiresAt: leaf.notAfter };
  }

  /** The bundle, where this is a root; it has a key for tokens too. */
  bundle(): Bundle {
    const jwtAuthorities =
      this.#algorithm === 'ec-p256' ? [jwtAuthorityOf(this.signer.keyId, this.signer.spki)] : [];
    return { trustDomain: this.trustDomain, x509Authorities: [this.certificate.der], jwtAuthorities };
  }

  /** A token for a path of the trust domain. `ttl` in milliseconds. */
  token(path: string, audience: readonly string[], ttl = 300_000): string {
    return signJwtSvid({
      spiffeId: parseSpiffeId(`spiffe://${this.trustDomain}${path}`),
      audience,
      now: this.#now(),
      ttl,
      signer: this.signer,
      keyId: this.signer.keyId,
      id: newTokenId(randomBytes),
    });
  }

  /** A list that revokes these SVIDs, DER. */
  crl(...revoked: readonly X509Svid[]): Buffer {
    this.#crlNumber += 1;
    const at = this.#now();
    return createCrl({
      certificate: this.certificate,
      signer: this.signer,
      revoked: revoked.map(({ chain: [leaf] }) => ({
        serial: leaf?.serial ?? '',
        at,
        reason: 'keyCompromise',
      })),
      number: this.#crlNumber,
      thisUpdate: at,
      nextUpdate: at + DAY_MS,
    });
  }
}
