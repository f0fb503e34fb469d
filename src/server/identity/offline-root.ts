import type { KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError, parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  AuthorityIssuer,
  type Certificate,
  certificatesFromPem,
  keyIdOf,
  signerOf,
} from '../../identity/index.ts';
import { FileVault } from '../keys/file-vault.ts';
import { random } from './signing-keys.ts';

/** The root's certificate inside its directory; the key is in `keys/` beside it. */
export const ROOT_FILE = 'root.pem';

/** What the root is to sign. Durations are milliseconds. */
export interface OfflineOrder {
  /** PKCS#10, DER. */
  readonly csr: Buffer;
  readonly ttl: number;
  readonly now: number;
  /** Path prefixes that the new authority may speak for; absent for all. */
  readonly prefixes?: readonly string[] | undefined;
  readonly pathLength?: number | undefined;
}

/** Signs an authority with an offline root; the new certificate, then the root. Throws `not_found`, `io`, `state`. */
export async function signOffline(dir: string, order: OfflineOrder): Promise<Certificate[]> {
  const file = join(dir, ROOT_FILE);
  if (!existsSync(file)) {
    throw new InterlockError(
      'not_found',
      dir,
      `there is no root in ${dir}: it was made by "interlock authority init --offline-root"`,
    );
  }
  const [root] = certificatesFromPem(readFileSync(file, 'utf8'));
  if (root?.spiffeId === undefined)
    throw new InterlockError('invalid_certificate', file, `${file} holds no root`);
  return signWithRoot(root, await new FileVault(dir).get(keyIdOf(root.spki)), order);
}

/** Signs an authority with a root and its key; the new certificate, then the root. */
export async function signWithRoot(
  root: Certificate,
  key: KeyObject,
  order: OfflineOrder,
): Promise<Certificate[]> {
  const issuer = new AuthorityIssuer({
    chain: [root],
    signer: signerOf(key),
    trustDomain: trustDomainOf(parseSpiffeId(root.spiffeId ?? '')),
    random,
    now: () => order.now,
  });
  const { certificate } = await issuer.issueAuthority({
    csr: order.csr,
    ttl: order.ttl,
    prefixes: order.prefixes,
    ...(order.pathLength === undefined ? {} : { pathLength: order.pathLength }),
  });
  return [certificate, root];
}
