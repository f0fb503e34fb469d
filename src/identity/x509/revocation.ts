import { isInterlockError } from '../../access/index.ts';
import type { Certificate } from './certificate.ts';
import { fault } from './checks.ts';
import { type Crl, isCrlOf, isNamedBy, parseCrl } from './crl.ts';
import { KEY_USAGE } from './extensions.ts';

/** Lists by the bytes they were read from; undefined for what is none. */
const READ = new WeakMap<Uint8Array, Crl | undefined>();
/** Whether a list is signed by a key, by that key: found out once. */
const SIGNED = new WeakMap<Crl, Map<string, boolean>>();
/** Keys remembered for one list. Several authorities of one name are rare. */
const MAX_KEYS = 16;

/** The lists given to one verification. */
export class Revocations {
  readonly #crls: readonly Crl[];
  /** Lists that could not be used so far. */
  ignored = 0;

  constructor(crls: readonly (Uint8Array | Crl)[]) {
    const read = crls.map((crl) => (crl instanceof Uint8Array ? readOnce(crl) : crl));
    this.#crls = read.filter((crl) => crl !== undefined);
    this.ignored = read.length - this.#crls.length;
  }

  /** Throws `revoked` where a list of the issuer names the certificate. */
  check(certificate: Certificate, issuer: Certificate): void {
    for (const crl of this.#crls) {
      if (!isNamedBy(crl, issuer)) continue;
      if (!maySignLists(issuer) || !isSigned(crl, issuer)) {
        this.ignored++;
        continue;
      }
      const entry = crl.revoked.get(certificate.serial);
      if (entry !== undefined)
        throw fault(
          'revoked',
          certificate,
          `was revoked at ${new Date(entry.at).toISOString()} (${entry.reason})`,
        );
    }
  }
}

/** Throws `revoked` where a list names a certificate of the chain; each is certified by the next. */
export function assertNotRevoked(chain: readonly Certificate[], crls: readonly (Uint8Array | Crl)[]): void {
  const revocations = new Revocations(crls);
  chain.forEach((certificate, i) => {
    const issuer = chain[i + 1];
    if (issuer !== undefined) revocations.check(certificate, issuer);
  });
}

/** RFC 5280 section 6.3.3 (f): where there is a keyUsage, it has cRLSign. */
export function maySignLists({ keyUsage }: Certificate): boolean {
  return keyUsage === undefined || (keyUsage & KEY_USAGE.cRLSign) !== 0;
}

function readOnce(der: Uint8Array): Crl | undefined {
  if (READ.has(der)) return READ.get(der);
  let crl: Crl | undefined;
  try {
    crl = parseCrl(der);
  } catch (error) {
    if (!isInterlockError(error)) throw error;
  }
  READ.set(der, crl);
  return crl;
}

function isSigned(crl: Crl, issuer: Certificate): boolean {
  let keys = SIGNED.get(crl);
  if (keys === undefined) SIGNED.set(crl, (keys = new Map()));
  const key = issuer.spki.toString('latin1');
  let signed = keys.get(key);
  if (signed === undefined) {
    if (keys.size >= MAX_KEYS) keys.clear();
    keys.set(key, (signed = isCrlOf(crl, issuer)));
  }
  return signed;
}
