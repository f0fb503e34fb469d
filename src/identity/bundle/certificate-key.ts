import { isInterlockError } from '../../access/index.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { isObject, member } from './json.ts';
import type { SkipReason } from './skipped.ts';

/** Reads the entry of an X.509 authority (X509-SVID.md section 6): the certificate's DER, or why it is left out. */
export function readX509Authority(entry: Readonly<Record<string, unknown>>): Buffer | SkipReason {
  if (member(entry, 'kid') !== undefined) return 'key_id_set';
  if (member(entry, 'd') !== undefined) return 'private_key';
  const x5c = member(entry, 'x5c');
  if (!Array.isArray(x5c) || x5c.length !== 1) return 'no_certificate';
  const der = base64Of(x5c[0]);
  const certificate = der === undefined ? undefined : certificateOf(der);
  if (der === undefined || certificate === undefined) return 'bad_certificate';
  if (!certificate.isAuthority) return 'not_an_authority';
  const jwk = jwkOf(certificate);
  if (jwk === undefined) return 'unknown_key_type';
  return differs(entry, jwk) ? 'key_differs' : der;
}

/** The JWK members that stand beside an authority's `x5c`, or undefined where JWK has no form for its key. */
export function keyMembersOf(der: Buffer): Readonly<Record<string, unknown>> | undefined {
  const certificate = certificateOf(der);
  return certificate === undefined ? undefined : jwkOf(certificate);
}

function certificateOf(der: Buffer): Certificate | undefined {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (isInterlockError(error)) return undefined;
    throw error;
  }
}

/** Undefined too for a key that OpenSSL does not take, such as a point that is not on its curve. */
function jwkOf(certificate: Certificate): Readonly<Record<string, unknown>> | undefined {
  try {
    const jwk: unknown = certificate.publicKey().export({ format: 'jwk' });
    return isObject(jwk) ? jwk : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 7517 section 4.7: the key of the certificate must be the one that the other members show, where they do. */
function differs(entry: Readonly<Record<string, unknown>>, jwk: Readonly<Record<string, unknown>>): boolean {
  if (member(entry, 'kty') !== jwk['kty']) return true;
  return Object.keys(jwk).some((name) => {
    const stated = member(entry, name);
    return stated !== undefined && stated !== jwk[name];
  });
}

/** The octets of canonical base64 (RFC 7517 section 4.7: with padding, not base64url), or undefined. */
function base64Of(value: unknown): Buffer | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  const octets = Buffer.from(value, 'base64');
  return octets.toString('base64') === value ? octets : undefined;
}
