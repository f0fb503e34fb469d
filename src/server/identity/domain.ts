import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../identity/index.ts';
import type { Json } from '../../store/index.ts';

/** Name of the setting that holds the {@link Domain}. */
export const DOMAIN_SETTING = 'domain';

const DAY = 86_400_000;

/** What a control plane was set up for; it does not change afterwards. Durations are milliseconds. */
export interface Domain {
  readonly trustDomain: string;
  /** The kind of key of new authorities. */
  readonly algorithm: KeyAlgorithm;
  /** Life of an authority. */
  readonly authorityTtl: number;
  /**
   * `self`: roots that this control plane makes. `offline`: intermediates under a root whose key is elsewhere.
   * `parent`: intermediates that a parent control plane signs.
   */
  readonly root: 'self' | 'offline' | 'parent';
  /** HOST:PORT of the parent, where there is one. */
  readonly parent?: string | undefined;
  /** The path prefixes that it may speak for; undefined for all. */
  readonly prefixes?: readonly string[] | undefined;
  /** The `iss` of its JWT-SVIDs. */
  readonly issuer?: string | undefined;
}

export const DEFAULT_AUTHORITY_TTL = 30 * DAY;

const schema = z.strictObject({
  trustDomain: z.string(),
  algorithm: z.enum(Object.keys(KEY_ALGORITHMS) as [KeyAlgorithm, ...KeyAlgorithm[]]),
  authorityTtl: z.number().positive(),
  root: z.enum(['self', 'offline', 'parent']),
  parent: z.string().optional(),
  prefixes: z.array(z.string()).optional(),
  issuer: z.string().optional(),
});

/** The domain as it was kept. Throws `state`. */
export function domainFromJson(data: Json): Domain {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  throw new InterlockError('state', 'identity database', 'the settings of the trust domain are not readable');
}

/** The path below which the program's own IDs of this control plane stand: agents, the server. */
export function ownPath(domain: Domain): string {
  return `${domain.prefixes?.[0]?.slice(0, -1) ?? ''}/interlock`;
}
