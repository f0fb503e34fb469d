import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { parseSpiffeId } from '../../access/index.ts';
import { generateKey, type KeyAlgorithm, signerOf, spkiOf } from '../keys/index.ts';
import {
  authorityTemplate,
  issuerOf,
  leafTemplate,
  newSerial,
  parseCertificate,
  signCertificate,
} from '../x509/index.ts';
import { jwtAuthorityOf } from './jwk.ts';
import type { Bundle, JwtAuthority } from './types.ts';

/** The instant at which certificates and tokens of these tests are valid. */
export const NOW = Date.UTC(2026, 10, 21, 12);
const HOUR = 3_600_000;

/** A private key and its certificate, DER. */
export interface Credential {
  readonly key: KeyObject;
  readonly der: Buffer;
}

/** A root authority; it is valid for a day around `now`. */
export function rootOf(
  trustDomain: string,
  now: number = NOW,
  algorithm: KeyAlgorithm = 'ec-p256',
): Credential {
  const key = generateKey(algorithm);
  const template = authorityTemplate({
    trustDomain,
    spki: spkiOf(key),
    notBefore: now - 12 * HOUR,
    notAfter: now + 12 * HOUR,
    serial: newSerial(randomBytes),
  });
  return { key, der: signCertificate(template, signerOf(key)) };
}

/** An X509-SVID under a root; it is valid from an hour before `now` to an hour after it. */
export function svidOf(id: string, root: Credential, now: number = NOW, dnsNames: string[] = []): Credential {
  const key = generateKey('ec-p256');
  const template = leafTemplate({
    spiffeId: parseSpiffeId(id),
    spki: spkiOf(key),
    notBefore: now - HOUR,
    notAfter: now + HOUR,
    dnsNames,
    serial: newSerial(randomBytes),
    issuer: issuerOf(parseCertificate(root.der)),
  });
  return { key, der: signCertificate(template, signerOf(root.key)) };
}

/** A key pair for JWT-SVIDs with its entry for a bundle. */
export function jwtKey(
  keyId: string,
  type: 'P-256' | 'P-384' | 'P-521' | 'RSA' = 'P-256',
): { privateKey: KeyObject; authority: JwtAuthority } {
  const { privateKey, publicKey } =
    type === 'RSA'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: type });
  return { privateKey, authority: jwtAuthorityOf(keyId, publicKey) };
}

/** A bundle of example.org with what is given. */
export function bundleWith(parts: Partial<Bundle>): Bundle {
  return { trustDomain: 'example.org', x509Authorities: [], jwtAuthorities: [], ...parts };
}
