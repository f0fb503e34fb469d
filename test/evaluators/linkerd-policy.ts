import { z } from 'zod';
import { inBlock } from './network-policy.ts';

/**
 * An evaluator of Linkerd's inbound policy, written from the reference "Authorization Policy", the Gateway API and
 * the documented order of matches. Ties between routes are broken against us: every best route has to agree.
 */

const meta = z.strictObject({
  name: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
  namespace: z.string(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const target = (kinds: [string, ...string[]]) =>
  z.strictObject({ group: z.literal('policy.linkerd.io'), kind: z.enum(kinds), name: z.string() });
const match = z.strictObject({
  path: z
    .strictObject({ type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']), value: z.string().max(1024) })
    .optional(),
  method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']).optional(),
});
const v1alpha1 = z.literal('policy.linkerd.io/v1alpha1');
const v1beta3 = z.literal('policy.linkerd.io/v1beta3');

const schema = z.discriminatedUnion('kind', [
  z.strictObject({
    apiVersion: v1beta3,
    kind: z.literal('Server'),
    metadata: meta,
    spec: z.strictObject({
      podSelector: z.strictObject({ matchLabels: z.record(z.string(), z.string()) }),
      port: z.int(),
      proxyProtocol: z.enum(['unknown', 'HTTP/1', 'HTTP/2', 'gRPC', 'opaque', 'TLS']),
      accessPolicy: z.enum(['deny', 'audit']),
    }),
  }),
  z.strictObject({
    apiVersion: v1beta3,
    kind: z.literal('HTTPRoute'),
    metadata: meta,
    spec: z.strictObject({
      parentRefs: z.array(target(['Server'])).min(1),
      rules: z
        .array(z.strictObject({ matches: z.array(match).min(1).max(8) }))
        .min(1)
        .max(16),
    }),
  }),
  z.strictObject({
    apiVersion: v1alpha1,
    kind: z.literal('AuthorizationPolicy'),
    metadata: meta,
    spec: z.strictObject({
      targetRef: target(['Server', 'HTTPRoute']),
      requiredAuthenticationRefs: z.array(target(['MeshTLSAuthentication', 'NetworkAuthentication'])).min(1),
    }),
  }),
  z.strictObject({
    apiVersion: v1alpha1,
    kind: z.literal('MeshTLSAuthentication'),
    metadata: meta,
    spec: z.union([
      z.strictObject({
        identities: z
          .array(z.string().regex(/^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/))
          .min(1),
      }),
      z.strictObject({
        identityRefs: z
          .array(
            z.strictObject({
              kind: z.enum(['ServiceAccount', 'Namespace']),
              name: z.string(),
              namespace: z.string().optional(),
            }),
          )
          .min(1),
      }),
    ]),
  }),
  z.strictObject({
    apiVersion: v1alpha1,
    kind: z.literal('NetworkAuthentication'),
    metadata: meta,
    spec: z.strictObject({
      networks: z.array(z.strictObject({ cidr: z.string(), except: z.array(z.string()).optional() })).min(1),
    }),
  }),
]);

export type LinkerdDocument = z.infer<typeof schema>;
type Of<K extends LinkerdDocument['kind']> = Extract<LinkerdDocument, { kind: K }>;

/** Reads a rendered document; throws where the custom resource's schema would refuse it. */
export function readLinkerd(document: unknown): LinkerdDocument {
  return schema.parse(document);
}

/** A client: its address, and its service account where it is meshed. */
export interface Client {
  readonly ip: string;
  readonly account?: { readonly namespace: string; readonly name: string };
}

/** A request as it is sent (path without its query), or a connection without one. */
export interface Call {
  readonly from: Client;
  readonly to: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  readonly port: number;
  readonly request?: { readonly method: string; readonly path: string };
}

/** What every way of breaking ties gives: `open` where no Server is about the port. */
export function linkerdVerdicts(
  documents: readonly LinkerdDocument[],
  call: Call,
): Set<'allow' | 'deny' | 'open'> {
  const { from, to, port, request } = call;
  const own = documents.filter(({ metadata }) => metadata.namespace === to.namespace);
  const kind = <K extends LinkerdDocument['kind']>(name: K) => own.filter((d): d is Of<K> => d.kind === name);
  const server = kind('Server').find(
    ({ spec }) =>
      spec.port === port &&
      Object.entries(spec.podSelector.matchLabels).every(([k, v]) => to.labels[k] === v),
  );
  if (server === undefined) return new Set(['open']);
  const permits = (targetKind: string, name: string) =>
    kind('AuthorizationPolicy')
      .filter(({ spec }) => spec.targetRef.kind === targetKind && spec.targetRef.name === name)
      .some(({ spec }) =>
        spec.requiredAuthenticationRefs.every((ref) =>
          own.some((d) => d.kind === ref.kind && d.metadata.name === ref.name && isClient(d, from)),
        ),
      );
  // What is authorized on a Server is so on all of its routes; audit authorizes everyone.
  const onServer = server.spec.accessPolicy === 'audit' || permits('Server', server.metadata.name);
  const routes = kind('HTTPRoute').filter(({ spec }) =>
    spec.parentRefs.some(({ name }) => name === server.metadata.name),
  );
  if (request === undefined || server.spec.proxyProtocol === 'opaque' || routes.length === 0) {
    return new Set([onServer ? 'allow' : 'deny']);
  }
  const found = routes.flatMap((route) => {
    const scores = route.spec.rules.flatMap(({ matches }) =>
      matches.flatMap((one) => scoreOf(one, request) ?? []),
    );
    return scores.length === 0 ? [] : [{ route, score: Math.max(...scores) }];
  });
  const best = Math.max(...found.map(({ score }) => score));
  const chosen = found.filter(({ score }) => score === best);
  if (chosen.length === 0) return new Set(['deny']);
  return new Set(
    chosen.map(({ route }) => (onServer || permits('HTTPRoute', route.metadata.name) ? 'allow' : 'deny')),
  );
}

/** Longer matches first, then those that name the method; exact and regular expressions match the whole path. */
function scoreOf(
  { path, method }: z.infer<typeof match>,
  request: { method: string; path: string },
): number | undefined {
  if (method !== undefined && method !== request.method) return undefined;
  const length = path === undefined ? 1 : lengthOf(path, request.path);
  return length === undefined ? undefined : length * 2 + (method === undefined ? 0 : 1);
}

function lengthOf({ type, value }: { type: string; value: string }, path: string): number | undefined {
  if (type === 'Exact') return path === value ? value.length : undefined;
  if (type === 'PathPrefix') return value === '/' ? 1 : undefined;
  return new RegExp(value).exec(path)?.[0] === path ? path.length : undefined;
}

function isClient(document: LinkerdDocument, { ip, account }: Client): boolean {
  if (document.kind === 'NetworkAuthentication') {
    return document.spec.networks.some(
      ({ cidr, except = [] }) => inBlock(ip, cidr) && !except.some((block) => inBlock(ip, block)),
    );
  }
  if (document.kind !== 'MeshTLSAuthentication' || account === undefined) return false;
  const identity = `${account.name}.${account.namespace}.serviceaccount.identity.linkerd.cluster.local`;
  if ('identities' in document.spec) {
    return document.spec.identities.some((one) =>
      one.startsWith('*') ? identity.endsWith(one.slice(1)) : one === identity,
    );
  }
  return document.spec.identityRefs.some(({ kind, name, namespace }) =>
    kind === 'Namespace'
      ? account.namespace === name
      : account.name === name && account.namespace === namespace,
  );
}
