import { z } from 'zod';
import { InterlockError, parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  AUTHORITY_STATES,
  type AuthoritySlot,
  type Certificate,
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  parseCertificate,
} from '../../identity/index.ts';
import type { Json } from '../../store/index.ts';

/** One authority of this control plane: its certificate and where it is in its life. Times are milliseconds. */
export interface Slot extends AuthoritySlot {
  readonly algorithm: KeyAlgorithm;
  /** Its certificate, then the intermediates above it, without the root. A root's own stands in `root` alone. */
  readonly intermediates: readonly Certificate[];
  /** What verifiers trust. */
  readonly root: Certificate;
  /** The key that signs JWT-SVIDs (SubjectPublicKeyInfo, DER); undefined where the authority signs none. */
  readonly jwt: { readonly keyId: string; readonly spki: Buffer } | undefined;
  readonly preparedAt: number;
  readonly activatedAt?: number;
  /** Over which time agents replace what it signed, milliseconds; where it is tainted. */
  readonly taintOverMs?: number;
  /** It signs although agents have not confirmed it: they attest anew. */
  readonly unconfirmed?: true;
  /** Somebody asked for it: it takes over as soon as every agent has confirmed it. */
  readonly wanted?: true;
}

/** The certificate that the authority signs with. */
export function certificateOf(slot: Slot): Certificate {
  return slot.intermediates[0] ?? slot.root;
}

/** The trust domain of what it signs: another one than the control plane's where one abroad certifies it. */
export function domainOf(slot: Slot): string {
  return trustDomainOf(parseSpiffeId(certificateOf(slot).spiffeId ?? ''));
}

/** When the first certificate on the way to the root ends. */
function endOf(certificates: readonly Certificate[]): number {
  return Math.min(...certificates.map(({ notAfter }) => notAfter));
}

/** What a slot says of the times of its certificates. */
export function timesOf({ intermediates, root }: Pick<Slot, 'intermediates' | 'root'>) {
  return {
    notBefore: (intermediates[0] ?? root).notBefore,
    notAfter: endOf([...intermediates, root]),
  };
}

const base64 = z.base64().max(100_000);
const schema = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{40}$/),
  name: z.string().min(1).max(253),
  state: z.enum(AUTHORITY_STATES),
  algorithm: z.enum(Object.keys(KEY_ALGORITHMS) as [KeyAlgorithm, ...KeyAlgorithm[]]),
  intermediates: z.array(base64).max(8),
  root: base64,
  jwt: z.strictObject({ keyId: z.string().min(1).max(100), spki: base64 }).optional(),
  preparedAt: z.number(),
  activatedAt: z.number().optional(),
  publishedIn: z.number(),
  taintedAt: z.number().optional(),
  revokedAt: z.number().optional(),
  wanted: z.literal(true).optional(),
  taintOverMs: z.number().optional(),
  unconfirmed: z.literal(true).optional(),
});

/** The slot as it is kept. */
export function slotToJson(slot: Slot): Json {
  const {
    intermediates,
    root,
    jwt,
    notBefore: _notBefore,
    notAfter: _notAfter,
    lastSignedEnds: _ends,
    ...rest
  } = slot;
  return {
    ...rest,
    intermediates: intermediates.map(({ der }) => der.toString('base64')),
    root: root.der.toString('base64'),
    ...(jwt === undefined ? {} : { jwt: { keyId: jwt.keyId, spki: jwt.spki.toString('base64') } }),
  };
}

/** The slot from its kept form. Throws `state` for what this program did not write. */
export function slotFromJson(data: Json): Slot {
  const parsed = schema.safeParse(data);
  if (!parsed.success)
    throw new InterlockError('state', 'authority', 'an authority in the identity database is not readable');
  const { jwt, activatedAt, taintedAt, revokedAt, wanted, taintOverMs, unconfirmed, ...rest } = parsed.data;
  const intermediates = rest.intermediates.map((der) => parseCertificate(Buffer.from(der, 'base64')));
  const root = parseCertificate(Buffer.from(rest.root, 'base64'));
  return {
    ...rest,
    ...timesOf({ intermediates, root }),
    intermediates,
    root,
    jwt: jwt === undefined ? undefined : { keyId: jwt.keyId, spki: Buffer.from(jwt.spki, 'base64') },
    ...(activatedAt === undefined ? {} : { activatedAt }),
    ...(taintedAt === undefined ? {} : { taintedAt }),
    ...(revokedAt === undefined ? {} : { revokedAt }),
    ...(wanted === undefined ? {} : { wanted }),
    ...(taintOverMs === undefined ? {} : { taintOverMs }),
    ...(unconfirmed === undefined ? {} : { unconfirmed }),
  };
}
