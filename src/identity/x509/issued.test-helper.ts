import { parseSpiffeId } from '../../access/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, signerOf } from '../keys/index.ts';
import type { Certificate } from './certificate.ts';
import { countedBytes, HOUR, keyOf, NOW } from './craft.test-helper.ts';
import { issueAuthority, issueX509 } from './issue.ts';
import { issuerOf } from './issuer.ts';
import { createRequest, parseRequest } from './request.ts';

/** Kinds of key. */
export const ALGORITHMS = Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[];
/** A workload of the payments area. */
export const API = parseSpiffeId('spiffe://example.org/area/payments/api');
export const random = countedBytes();
/** From 10 seconds ago for an hour. */
export const times = { notBefore: NOW - 10_000, notAfter: NOW + HOUR };

/** A root of example.org for 30 days. */
export function rootOf(algorithm: KeyAlgorithm): Promise<Certificate> {
  const signer = signerOf(keyOf('root', algorithm));
  return issueAuthority({
    trustDomain: 'example.org',
    ...times,
    signer,
    random,
    notAfter: NOW + 30 * 24 * HOUR,
  });
}

/** Root, child limited to a prefix, leaf. */
export async function chainOf(algorithm: KeyAlgorithm, leafAlgorithm: KeyAlgorithm): Promise<Certificate[]> {
  const root = await rootOf(algorithm);
  const childKey = keyOf('child', algorithm);
  const child = await issueAuthority({
    trustDomain: 'example.org',
    ...times,
    issuer: issuerOf(root),
    signer: signerOf(keyOf('root', algorithm)),
    request: parseRequest(createRequest(childKey)),
    pathLength: 0,
    prefixes: ['/area/payments/'],
    random,
  });
  const leaf = await issueX509({
    spiffeId: API,
    ...times,
    dnsNames: ['api.payments.svc', 'api'],
    issuer: issuerOf(child, [root]),
    signer: signerOf(childKey),
    request: parseRequest(createRequest(keyOf('leaf', leafAlgorithm))),
    random,
  });
  return [leaf, child, root];
}
