import { z } from 'zod';
import { id, idInPath, ids, name, page, type RouteSchema, share, time } from './common.ts';

const DAY_MS = 86_400_000;
const byId = z.strictObject({
  id: z.string().max(128).describe('The key ID of the authority, or its beginning.'),
});
const named = z.strictObject({ name: name.default('default') });
const forced = z.strictObject({ force: z.boolean().default(false) });

const authority = z.strictObject({
  id: z.string(),
  name: z.string(),
  trustDomain: z.string(),
  state: z.enum(['prepared', 'active', 'old']),
  algorithm: z.string(),
  key: z.string().describe('Its kind of key in words.'),
  notBefore: time,
  notAfter: time,
  preparedAt: time,
  activatedAt: time.optional(),
  taintedAt: time.optional(),
  revokedAt: time.optional(),
  publishedIn: z.int(),
  isConfirmed: z.boolean(),
  isWanted: z.boolean(),
  isRoot: z.boolean(),
  prefixes: z.array(z.string()).optional(),
  live: z.record(z.string(), z.int()).describe('What is live under it, by kind.'),
  pem: z.string(),
  rootPem: z.string(),
});

const joined = z.strictObject({
  name: z.string(),
  address: z.string(),
  trustDomain: z.string(),
  fault: z.string().optional(),
});

export const authorities = {
  'authorities.list': {
    answer: z.strictObject({
      trustDomain: z.string(),
      root: z.enum(['self', 'offline', 'parent']),
      parent: z.string().optional(),
      prefixes: z.array(z.string()).optional(),
      agents: z.int().describe('Connected agents that have not confirmed the newest bundles.'),
      joined: z.array(joined),
      authorities: z.array(authority),
    }),
  },
  'authorities.prepare': { body: named, answer: authority },
  'authorities.rotate': { body: named, answer: authority },
  'authorities.join': {
    body: z.strictObject({
      name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/),
      address: z.string().max(300),
      joinToken: z.string().max(1000).optional(),
    }),
    answer: authority,
  },
  'authorities.leave': { body: z.strictObject({ name }), answer: z.strictObject({ left: z.string() }) },
  'authorities.request': {
    body: z.strictObject({}),
    answer: z.strictObject({ keyId: z.string(), pem: z.string() }),
  },
  'authorities.import': {
    body: z.strictObject({ name: name.default('default'), pem: z.string().max(1_000_000) }),
    answer: authority,
  },
  'authorities.activate': { params: byId, body: forced, answer: authority },
  'authorities.taint': {
    params: byId,
    body: z.strictObject({ overMs: z.int().min(0).max(DAY_MS) }),
    answer: authority,
  },
  'authorities.revoke': { params: byId, body: forced, answer: authority },
} as const satisfies Readonly<Record<string, RouteSchema>>;

const staying = z.strictObject({ count: z.int(), ids });
const cutover = z.strictObject({
  id: z.string(),
  from: z.string(),
  to: z.string(),
  share: z.number(),
  state: z.enum(['waiting', 'running', 'paused', 'back', 'done']),
  publishedIn: z.int(),
  changedAt: time,
  fromTrustDomain: z.string(),
  toTrustDomain: z.string(),
  progress: z.strictObject({
    atFrom: z.int(),
    atTo: z.int(),
    willMove: z.int(),
    willReturn: z.int(),
    staying: z.strictObject({
      agent: staying.optional(),
      prefixes: staying.optional(),
      target: staying.optional(),
    }),
  }),
});
/** A cutover, or that it was turned back and is forgotten. */
const cutoverOrUndone = z.discriminatedUnion('state', [
  cutover,
  z.strictObject({ id: z.string(), state: z.literal('undone') }),
]);
const cutoverId = z.strictObject({ id: name });
const other = z.strictObject({ share: share.optional() });

export const cutovers = {
  'cutovers.list': { answer: z.strictObject({ cutovers: z.array(cutoverOrUndone) }) },
  'cutovers.start': {
    body: z.strictObject({ id: name, from: name, to: name, share }),
    answer: cutoverOrUndone,
  },
  'cutovers.raise': { params: cutoverId, body: z.strictObject({ share }), answer: cutoverOrUndone },
  'cutovers.pause': { params: cutoverId, body: z.strictObject({}), answer: cutoverOrUndone },
  'cutovers.resume': { params: cutoverId, body: other, answer: cutoverOrUndone },
  'cutovers.back': { params: cutoverId, body: other, answer: cutoverOrUndone },
  'cutovers.finish': { params: cutoverId, body: z.strictObject({}), answer: cutoverOrUndone },
} as const satisfies Readonly<Record<string, RouteSchema>>;

const peer = z.strictObject({
  trustDomain: z.string(),
  endpointUrl: z.string(),
  profile: z.enum(['https_web', 'https_spiffe']),
  endpointSpiffeId: id.optional(),
  state: z.enum(['not_fetched', 'failing', 'stale', 'fresh']),
  sequence: z.number().optional(),
  authorities: z.int(),
  fetchedAt: time.optional(),
  nextAt: time,
  isStale: z.boolean(),
  isLooking: z.boolean(),
  failures: z.int(),
  lastFault: z.strictObject({ at: time, code: z.string(), message: z.string() }).optional(),
});
const trustDomain = z.strictObject({ trustDomain: z.string().max(255) });

export const federation = {
  'federation.list': {
    answer: z.strictObject({
      peers: z.array(peer),
      children: z.array(z.strictObject({ trustDomain: z.string(), agent: z.string() })),
    }),
  },
  'federation.put': {
    body: z.strictObject({
      trustDomain: z.string().max(255),
      endpointUrl: z.string().max(2048),
      profile: z.string().max(40),
      endpointSpiffeId: z.string().max(2048).optional(),
      bundle: z
        .string()
        .max(1_100_000)
        .optional()
        .describe('The first bundle, for an https_spiffe endpoint of the peer itself.'),
    }),
    answer: peer,
  },
  'federation.refresh': { params: trustDomain, body: z.strictObject({}), answer: peer },
  'federation.remove': { params: trustDomain, answer: z.strictObject({ removed: z.string() }) },
} as const satisfies Readonly<Record<string, RouteSchema>>;

/** Longest page of SVIDs. */
const identityPage = { ...page, after: z.string().max(64).optional() };
const kind = z.enum(['workload', 'agent', 'authority', 'server', 'jwt']);
const svid = z.strictObject({
  serial: z.string(),
  kind,
  spiffeId: z.string(),
  agent: z.string(),
  rule: z.string(),
  authority: z.string(),
  authorityName: z.string().optional(),
  issuedAt: time,
  notAfter: time,
  replacedBy: z.string().optional(),
  droppedAt: time.optional(),
  revokedAt: time.optional(),
});
const revocationReason = z.string().max(200).default('unspecified');

export const identities = {
  'identities.list': {
    query: z.strictObject({
      ...identityPage,
      id: z.string().max(2048).optional().describe('An ID, or the beginning of IDs where it ends in "*".'),
      agent: z.string().max(2048).optional(),
      authority: z.string().max(64).optional(),
      rule: z.string().max(253).optional(),
      kind: kind.optional(),
      serial: z.string().max(64).optional(),
      all: z.enum(['true', 'false']).default('false').describe('"true": also those that are not live.'),
      order: z.enum(['serial', 'ends']).default('serial').describe('"ends": what ends first comes first.'),
    }),
    answer: z.strictObject({ identities: z.array(svid), next: z.string().optional() }),
  },
  'identities.verify': {
    body: z.strictObject({ pem: z.string().max(1_000_000) }),
    answer: z.discriminatedUnion('isValid', [
      z.strictObject({
        isValid: z.literal(true),
        spiffeId: id,
        serial: z.string().optional(),
        via: z.array(z.string()),
        expiresAt: time,
      }),
      z.strictObject({ isValid: z.literal(false), fault: z.string(), reason: z.string() }),
    ]),
  },
  'revocations.list': {
    answer: z.strictObject({
      revoked: z.array(
        z.strictObject({
          what: z.enum(['id', 'serial']),
          value: z.string(),
          authority: z.string(),
          reason: z.string(),
          at: time,
          until: time.optional(),
        }),
      ),
    }),
  },
  'revocations.make': {
    body: z.union([
      z.strictObject({ spiffeId: z.string().max(2048), reason: revocationReason }),
      z.strictObject({ serial: z.string().regex(/^[0-9a-f]{1,40}$/), reason: revocationReason }),
    ]),
    answer: z.strictObject({ certificates: z.int() }),
  },
  'revocations.end': {
    params: z.strictObject({ spiffeId: idInPath }),
    answer: z.strictObject({ allowed: z.string() }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
