import type { Need } from './roles.ts';

/** One row of the table: how a route is called, what its caller needs, and what it is for in one sentence. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `:name` stands for one segment, percent-encoded. */
  readonly path: `/v1/${string}`;
  readonly need: Need;
  readonly summary: string;
  /** Answers with server-sent events, not with one document. */
  readonly isStream?: true;
}

/**
 * Every route of the HTTP API by name: the one place that says what there is. Server, command line, console and OpenAPI
 * document are made from it. A workload in a path is its SPIFFE ID without `spiffe://`, percent-encoded: one segment,
 * so that what follows it is never taken for a part of the ID, and an address that can be kept as a link. In queries and
 * bodies an ID is written in full.
 */
export const ROUTES = {
  'status.get': get('/v1/status', 'viewer', 'The control plane itself: version, start, ports, counts.'),
  'replicas.list': get('/v1/replicas', 'viewer', 'The control planes of this state, and which one leads.'),
  'openapi.get': get('/v1/openapi.json', 'anyone', 'This API as an OpenAPI 3.1 document.'),
  'me.get': get('/v1/me', 'viewer', 'Who the caller is, and its roles.'),
  'sessions.list': get('/v1/sessions', 'viewer', 'Sessions: all of them for operators, else the own ones.'),
  'sessions.end': remove('/v1/sessions/:id', 'viewer', 'End a session; one of somebody else as an operator.'),
  'sign-in-links.make': post('/v1/sign-in-links', 'local', 'Make a link that signs one person in, once.'),
  'bundle.get': get('/v1/bundle', 'viewer', 'The trust bundle: SPIFFE document and PEM.'),
  'events.stream': {
    ...get('/v1/events', 'viewer', 'What changes, as server-sent events.'),
    isStream: true,
  },
  'audit.list': get('/v1/audit', 'viewer', 'Entries of the audit log, from either end.'),
  'audit.verify': get('/v1/audit/verify', 'viewer', 'Whether the chain of hashes of the audit log is whole.'),

  'workloads.list': get('/v1/workloads', 'viewer', 'Workloads, each with its stage and what is open.'),
  'workloads.get': get(
    '/v1/workloads/:workload',
    'viewer',
    'One workload: callers, callees, rollout, points.',
  ),
  'accesses.list': get('/v1/accesses', 'viewer', 'Accesses with their views, evidence and verdicts.'),
  'graph.get': get('/v1/graph', 'viewer', 'The access graph, by workload or by namespace.'),
  'proposals.get': get(
    '/v1/proposals/:workload',
    'viewer',
    'What policy the evidence of a workload proposes.',
  ),
  'readiness.get': get(
    '/v1/readiness/:workload',
    'viewer',
    'What is known of a workload, against the gates.',
  ),

  'reviews.list': get('/v1/reviews', 'viewer', 'What waits for a decision, by workload.'),
  'reviews.get': get(
    '/v1/reviews/:workload',
    'viewer',
    'Changes and questions about one workload, with their evidence.',
  ),
  'reviews.approve': post(
    '/v1/reviews/:workload/approve',
    'approver',
    'Make changes of the target set, and approve it.',
  ),
  'reviews.reject': post(
    '/v1/reviews/:workload/reject',
    'approver',
    'Reject changes and close questions, until they rest on materially more.',
  ),
  'reviews.deny': post(
    '/v1/reviews/:workload/deny',
    'approver',
    'Answer questions with rules that deny on purpose.',
  ),
  'reviews.edit': post('/v1/reviews/:workload/edit', 'operator', 'Write another target set by hand.'),
  'reviews.acknowledge': post(
    '/v1/reviews/:workload/acknowledge',
    'approver',
    'Say that blind spots, and doubts without a rule, are known.',
  ),
  'reviews.ask': post('/v1/reviews/:workload/ask', 'approver', 'Leave a comment for the owners.'),
  'history.get': get('/v1/history/:workload', 'viewer', 'Who has moved a workload, when, and on what.'),

  'policies.list': get('/v1/policies', 'viewer', 'Policies: which set each is in, and its document.'),
  'policies.check': post(
    '/v1/policies/check',
    'operator',
    'What is wrong with a text of policies; keeps nothing.',
  ),
  'policies.apply': post('/v1/policies', 'operator', 'Add or replace policies in target sets; all or none.'),
  'policies.sync': put(
    '/v1/policies/:workload',
    'operator',
    'Make the target set of a workload what a directory says.',
  ),
  'syncs.list': get('/v1/syncs', 'viewer', 'From where documents are synced, by whom, and how it goes.'),
  'syncs.take': post(
    '/v1/syncs',
    'operator',
    'Take the turn to sync from a source, keep it, or give it back: one run of a source at a time.',
  ),
  'policies.remove': remove(
    '/v1/policies/:workload/:policy',
    'operator',
    'Take a policy out of its target set.',
  ),
  'exceptions.list': get('/v1/exceptions', 'viewer', 'Rules that end by themselves, the first to end first.'),
  'rollouts.list': get('/v1/rollouts', 'viewer', 'How far each protected workload has come.'),
  'rollouts.get': get('/v1/rollouts/:workload', 'viewer', 'One rollout, with its complete sets.'),
  'rollouts.move': post('/v1/rollouts/:workload/move', 'operator', 'Move the target set to another stage.'),
  'rollouts.hold': put(
    '/v1/rollouts/:workload/hold',
    'operator',
    'Keep a workload from moving forward by itself, or let it again.',
  ),
  'rollouts.authenticate': put(
    '/v1/rollouts/:workload/authentication',
    'operator',
    'Change how a workload takes connections.',
  ),
  'gates.get': get('/v1/gates', 'viewer', 'What promotions need, by tier, and how canaries widen.'),
  'preflight.get': get(
    '/v1/preflight/:workload',
    'viewer',
    'What is known of a workload before a promotion.',
  ),
  'changes.get': get(
    '/v1/changes/:id',
    'viewer',
    'Which proxies have confirmed a change; may wait for them.',
  ),
  'releases.list': get('/v1/releases', 'viewer', 'Releases in force, and drills.'),
  'releases.press': post(
    '/v1/releases',
    'breaker',
    'The red button: take enforcement away in a scope, at once.',
  ),
  'releases.arm': post('/v1/releases/arm', 'breaker', 'End one release, or all of them.'),
  'releases.drill': post('/v1/releases/drill', 'breaker', 'Prove the button without changing a verdict.'),
  'points.forget': post('/v1/points/forget', 'operator', 'Forget a proxy that is away and will not be back.'),
  'points.list': get('/v1/points', 'viewer', 'Proxies that enforce, and what each has in force.'),
  'flips.list': get('/v1/flips', 'viewer', 'Accesses whose verdict the target set would change.'),
  'unreached.list': get('/v1/unreached', 'viewer', 'Calls that never reached their peer, and why.'),
  'envoy-proxies.list': get('/v1/envoy-proxies', 'viewer', 'EnvoyProxy documents.'),
  'envoy-proxies.apply': post('/v1/envoy-proxies', 'operator', 'Add or replace an EnvoyProxy document.'),
  'envoy-proxies.remove': remove('/v1/envoy-proxies/:workload', 'operator', 'Remove an EnvoyProxy document.'),

  'identities.list': get(
    '/v1/identities',
    'viewer',
    'Issued SVIDs and authorities; the live ones by default.',
  ),
  'identities.verify': post(
    '/v1/identities/verify',
    'viewer',
    'Whether a certificate chain is valid here, now.',
  ),
  'handshakes.get': get(
    '/v1/handshakes',
    'viewer',
    'Groups of TLS handshakes: who still has no post-quantum one.',
  ),
  'revocations.list': get('/v1/revocations', 'viewer', 'Revoked identities and certificates.'),
  'revocations.make': post('/v1/revocations', 'operator', 'Revoke an identity, or one certificate.'),
  'revocations.end': remove('/v1/revocations/:spiffeId', 'operator', 'Allow a revoked identity again.'),

  'agents.list': get('/v1/agents', 'viewer', 'Node agents, and what each has confirmed.'),
  'agents.evict': post('/v1/agents/:agent/evict', 'operator', 'Revoke an agent and all that it holds.'),
  'agents.forget': remove('/v1/agents/:agent', 'operator', 'Forget an evicted agent: it may join again.'),
  'join-tokens.list': get('/v1/join-tokens', 'viewer', 'Join tokens that nobody has used yet.'),
  'join-tokens.make': post('/v1/join-tokens', 'operator', 'Make a token by which one node joins, once.'),

  'rules.list': get('/v1/rules', 'viewer', 'Registration rules.'),
  'rules.get': get('/v1/rules/:name', 'viewer', 'One registration rule.'),
  'rules.apply': post('/v1/rules', 'operator', 'Add or replace registration rules; all or none.'),
  'rules.remove': remove('/v1/rules/:name', 'operator', 'Remove a registration rule.'),
  'rules.explain': post(
    '/v1/rules/explain',
    'viewer',
    'Which rules give a workload its identities, and why not.',
  ),

  'authorities.list': get('/v1/authorities', 'viewer', 'Authorities, and where they are in their lives.'),
  'authorities.prepare': post('/v1/authorities/prepare', 'operator', 'Make the next authority of a name.'),
  'authorities.rotate': post('/v1/authorities/rotate', 'operator', 'Prepare one that takes over by itself.'),
  'authorities.join': post(
    '/v1/authorities/join',
    'operator',
    'Have an authority certified by another plane.',
  ),
  'authorities.leave': post('/v1/authorities/leave', 'operator', 'Give up an authority certified elsewhere.'),
  'authorities.request': post(
    '/v1/authorities/csr',
    'operator',
    'Make a request for an offline root to sign.',
  ),
  'authorities.import': post('/v1/authorities/import', 'operator', 'Take what the offline root has signed.'),
  'authorities.activate': post('/v1/authorities/:id/activate', 'operator', 'Let a prepared authority sign.'),
  'authorities.taint': post('/v1/authorities/:id/taint', 'operator', 'Replace every SVID of an authority.'),
  'authorities.revoke': post('/v1/authorities/:id/revoke', 'operator', 'Stop trusting an authority.'),

  'sealing.get': get(
    '/v1/sealing-keys',
    'viewer',
    'With which key of key files the private keys are sealed.',
  ),
  'sealing.reseal': post(
    '/v1/sealing-keys/reseal',
    'operator',
    'Seal every private key with the first key of the key file.',
  ),
  'cutovers.list': get('/v1/cutovers', 'viewer', 'Moves of workloads from one authority to another.'),
  'cutovers.start': post('/v1/cutovers', 'operator', 'Start to move a share of workloads.'),
  'cutovers.raise': post('/v1/cutovers/:id/raise', 'operator', 'Move more of them.'),
  'cutovers.pause': post('/v1/cutovers/:id/pause', 'operator', 'Leave everybody where they are.'),
  'cutovers.resume': post('/v1/cutovers/:id/resume', 'operator', 'Go on, with another share if given.'),
  'cutovers.back': post('/v1/cutovers/:id/back', 'operator', 'Move them back, down to a share if given.'),
  'cutovers.finish': post('/v1/cutovers/:id/finish', 'operator', 'End one whose workloads have all moved.'),

  'federation.list': get('/v1/federation', 'viewer', 'Trust domains that this one federates with.'),
  'federation.put': put('/v1/federation', 'operator', 'Federate with a trust domain.'),
  'federation.refresh': post('/v1/federation/:trustDomain/refresh', 'operator', 'Fetch its bundle now.'),
  'federation.remove': remove('/v1/federation/:trustDomain', 'operator', 'Federate no more.'),

  'notifications.list': get('/v1/notifications', 'viewer', 'Channels of notifications, and what waits.'),
  'notifications.test': post('/v1/notifications/:channel/test', 'operator', 'Send a test to a channel, now.'),
} as const satisfies Readonly<Record<string, Route>>;

export type RouteName = keyof typeof ROUTES;

/** The names in the order of the table. */
export const ROUTE_NAMES = Object.keys(ROUTES) as readonly RouteName[];

function get<const Path extends Route['path'], const N extends Need>(path: Path, need: N, summary: string) {
  return { method: 'GET', path, need, summary } as const;
}

function post<const Path extends Route['path'], const N extends Need>(path: Path, need: N, summary: string) {
  return { method: 'POST', path, need, summary } as const;
}

function put<const Path extends Route['path'], const N extends Need>(path: Path, need: N, summary: string) {
  return { method: 'PUT', path, need, summary } as const;
}

function remove<const Path extends Route['path'], const N extends Need>(
  path: Path,
  need: N,
  summary: string,
) {
  return { method: 'DELETE', path, need, summary } as const;
}

const SCHEME = 'spiffe://';

/** The path of a route with its parameters: percent-encoded, SPIFFE IDs without their scheme. */
export function pathOf(name: RouteName, params: Readonly<Record<string, string>> = {}): string {
  return ROUTES[name].path.replaceAll(/:(\w+)/g, (_, param: string) => {
    const value = params[param];
    if (value === undefined || value === '') throw new TypeError(`${name} needs "${param}"`);
    return encodeURIComponent(value.startsWith(SCHEME) ? value.slice(SCHEME.length) : value);
  });
}

/** A query as a text that begins with "?", or "" where it has no value. */
export function queryText(query: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) given.set(key, String(value));
  return given.size === 0 ? '' : `?${given.toString()}`;
}
