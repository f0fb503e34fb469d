import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError, trustDomainOf } from '../../access/index.ts';
import {
  AuthorityIssuer,
  BACK_DATE_MS,
  type Certificate,
  certificatesFromPem,
  certificateToPem,
  generateKey,
  issueAuthority,
  keyIdOf,
  signerOf,
} from '../../identity/index.ts';
import { KeyVault } from '../keys/key-vault.ts';
import type { Domain } from './domain.ts';
import { random } from './signing-keys.ts';

/** The root's certificate inside its directory; the key is in `keys/` beside it. */
const ROOT_FILE = 'root.pem';

/** Makes a root in a directory of its own. Throws `conflict` where one is, `io`. */
export async function makeOfflineRoot(
  dir: string,
  domain: Domain,
  ttl: number,
  now: number,
): Promise<Certificate> {
  const file = join(dir, ROOT_FILE);
  if (existsSync(file)) throw new InterlockError('conflict', dir, `there is a root in ${dir} already`);
  const key = generateKey(domain.algorithm);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  await new KeyVault(dir).put(key);
  const root = await issueAuthority({
    trustDomain: domain.trustDomain,
    notBefore: now - BACK_DATE_MS,
    notAfter: now + ttl,
    signer: signerOf(key),
    random,
  });
  writeFileSync(file, certificateToPem(root.der), { flag: 'wx', mode: 0o644 });
  return root;
}

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
  const issuer = new AuthorityIssuer({
    chain: [root],
    signer: signerOf(await new KeyVault(dir).get(keyIdOf(root.spki))),
    trustDomain: trustDomainOf(root.spiffeId),
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
