import { z } from 'zod';
import { InterlockError, parseSpiffeId, pathOf, trustDomainOf } from '../../access/index.ts';
import {
  type Certificate,
  type Crl,
  isInside,
  parseCertificate,
  parseCrl,
  verifyCrl,
} from '../../identity/index.ts';
import type { Json } from '../../store/index.ts';
import type { AuthorityRevocations, BelowRevocations } from '../agents/desk.ts';

/** What one child may say: it goes to every agent. A list of 1 MiB names about 25,000 certificates. */
const MAX_BYTES = 1024 * 1024;
const MAX_AUTHORITIES = 64;
const MAX_IDS = 10_000;

/** Throws `limit` for more than is passed on. */
export function checkSize(child: string, { authorities, spiffeIds }: BelowRevocations): void {
  const bytes = [...authorities.flatMap(({ chain, crl }) => [crl, ...chain]), ...spiffeIds].reduce(
    (sum, { length }) => sum + length,
    0,
  );
  if (bytes <= MAX_BYTES && authorities.length <= MAX_AUTHORITIES && spiffeIds.length <= MAX_IDS) return;
  throw new InterlockError(
    'limit',
    child,
    `a child authority revokes at most ${MAX_IDS} IDs and ${MAX_AUTHORITIES} lists of ${MAX_BYTES} bytes together`,
  );
}

/** Who a child is, for what it may revoke. */
export interface ChildScope {
  readonly trustDomain: string;
  readonly prefixes: readonly string[] | undefined;
  /** The child's own trust domains, with their roots. */
  readonly domains: ReadonlyMap<string, readonly Buffer[]>;
  /** Authorities of this control plane. */
  readonly issuers: readonly Certificate[];
  /** Whether this control plane has certified the certificate for the child. */
  readonly isCertified: (certificate: Certificate) => Promise<boolean>;
  readonly now: number;
}

/** Whether an ID is the child's to revoke; agents and the server of the root are nobody's. */
export function mayRevoke(text: string, { trustDomain, prefixes, domains }: ChildScope): boolean {
  try {
    const id = parseSpiffeId(text);
    if (domains.has(trustDomainOf(id))) return true;
    return (
      trustDomainOf(id) === trustDomain &&
      isInside(id, prefixes) &&
      !/^(\/interlock(\/.*)?)?$/.test(pathOf(id))
    );
  } catch {
    return false;
  }
}

/** Whether a list is of the child, or of an authority below it. */
export async function isOfChild(
  { chain, crl }: AuthorityRevocations,
  { trustDomain, domains, issuers, isCertified, now }: ChildScope,
): Promise<boolean> {
  let certificates: Certificate[];
  let list: Crl;
  try {
    list = parseCrl(crl);
    certificates = chain.map((der) => parseCertificate(der));
    const root = certificates.at(-1);
    if (root === undefined) return false;
    for (const [domain, roots] of domains) {
      if (!roots.some((der) => der.equals(root.der))) continue;
      // A root is its own issuer.
      verifyCrl(list, certificates, { trustDomain: domain, issuers: [root], now });
      return true;
    }
    verifyCrl(list, certificates, { trustDomain, issuers, now });
    return await isCertified(root);
  } catch (error) {
    if (error instanceof InterlockError && error.code !== 'unavailable') return false;
    throw error;
  }
}

const base64 = z.base64();
const schema = z.strictObject({
  authorities: z.array(z.strictObject({ chain: z.array(base64), crl: base64 })),
  spiffeIds: z.array(z.string()),
});

/** What a child has revoked, as it is kept. */
export function belowJson({ authorities, spiffeIds }: BelowRevocations): Json {
  const text = (der: Buffer) => der.toString('base64');
  return {
    authorities: authorities.map(({ chain, crl }) => ({ chain: chain.map(text), crl: text(crl) })),
    spiffeIds,
  };
}

/** What a child has revoked, from its kept form. Throws `state`. */
export function belowFromJson(data: Json): BelowRevocations {
  const parsed = schema.safeParse(data);
  if (!parsed.success)
    throw new InterlockError('state', 'identity database', 'what a child has revoked is not readable');
  const bytes = (text: string) => Buffer.from(text, 'base64');
  const { authorities, spiffeIds } = parsed.data;
  return {
    authorities: authorities.map(({ chain, crl }) => ({ chain: chain.map(bytes), crl: bytes(crl) })),
    spiffeIds,
  };
}
