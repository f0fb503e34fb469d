import { z } from 'zod';
import { inBlock } from './network-policy.ts';

/**
 * An evaluator of the ingress side of cilium.io/v2 CiliumNetworkPolicy, written from Cilium's documentation
 * ("Layer 3", "Layer 4", "Layer 7", "Deny policies", "Kubernetes constructs"). Unknown fields are refused.
 */

const selector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: z.string(),
        operator: z.enum(['Exists', 'In', 'NotIn']),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
});

const port = z.strictObject({
  port: z.string().regex(/^\d{1,5}$/),
  endPort: z.int().optional(),
  protocol: z.enum(['TCP', 'UDP', 'ANY']),
});

const regex = z.string().refine((text) => RegExp(text).source !== '');
const http = z.strictObject({ method: regex.optional(), path: regex.optional() });

const ports = z.array(z.strictObject({ ports: z.array(port).min(1).max(40) }));
const allowPorts = z.array(
  z
    .strictObject({
      ports: z.array(port).min(1).max(40),
      rules: z.strictObject({ http: z.array(http).min(1) }).optional(),
    })
    // "L7 rules can not be used when a port is 0".
    .refine(
      ({ ports, rules }) =>
        rules === undefined || ports.every(({ port, protocol }) => port !== '0' && protocol === 'TCP'),
    ),
);
const from = {
  fromEndpoints: z.array(selector).min(1).optional(),
  fromCIDR: z.array(z.string()).min(1).optional(),
  fromEntities: z
    .array(
      z.enum([
        'world',
        'host',
        'remote-node',
        'kube-apiserver',
        'ingress',
        'health',
        'init',
        'unmanaged',
        'cluster',
        'all',
      ]),
    )
    .min(1)
    .optional(),
};
/** "Combining two of the from fields in one rule is not supported." */
const oneSource = (rule: Record<string, unknown>) =>
  Object.keys(rule).filter((key) => key.startsWith('from')).length <= 1;

const schema = z.strictObject({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumNetworkPolicy'),
  metadata: z.strictObject({
    name: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
    namespace: z.string(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.strictObject({
    endpointSelector: selector,
    ingress: z
      .array(z.strictObject({ ...from, toPorts: allowPorts.optional() }).refine(oneSource))
      .optional(),
    ingressDeny: z.array(z.strictObject({ ...from, toPorts: ports.optional() }).refine(oneSource)).optional(),
  }),
});

export type CiliumPolicy = z.infer<typeof schema>;

/** Reads a rendered document; throws where it is not a policy that Cilium would take. */
export function readCiliumPolicy(document: unknown): CiliumPolicy {
  return schema.parse(document);
}

/** A pod that Cilium manages. */
export interface Endpoint {
  readonly namespace: string;
  readonly account: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A connection, and the request in it where it is HTTP. `path` has its query and is normalised already. */
export interface Attempt {
  readonly from: Endpoint | { readonly ip: string } | { readonly entity: string };
  readonly to: Endpoint;
  readonly port: number;
  readonly request?: { readonly method: string; readonly path: string };
}

/** Whether the policies let the attempt through. */
export function ciliumAllowed(policies: readonly CiliumPolicy[], attempt: Attempt): boolean {
  const { from, to, port, request } = attempt;
  const own = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === to.namespace && selected(spec.endpointSelector, to, to.namespace),
  );
  // "If any rule selects an endpoint and has an ingress section, the endpoint is in default deny for ingress."
  const denying = own.filter(({ spec }) => (spec.ingress ?? []).length + (spec.ingressDeny ?? []).length > 0);
  if (denying.length === 0) return true;
  const denied = own.some(({ metadata, spec }) =>
    (spec.ingressDeny ?? []).some(
      (rule) =>
        isFrom(rule, from, metadata.namespace) &&
        (rule.toPorts ?? [{ ports: undefined }]).some((p) => isPort(p.ports, port)),
    ),
  );
  if (denied) return false;
  const matched = own.flatMap(({ metadata, spec }) =>
    (spec.ingress ?? [])
      .filter((rule) => isFrom(rule, from, metadata.namespace))
      .flatMap((rule): AllowPort[] => rule.toPorts ?? [{}])
      .filter((p) => isPort(p.ports, port)),
  );
  if (matched.length === 0) return false;
  const proxied = matched.some(({ rules }) => rules !== undefined);
  if (!proxied) return true;
  // Behind the HTTP proxy only HTTP passes; a rule without layer 7 part lets every request through.
  if (request === undefined) return false;
  return matched.some(({ rules }) => rules === undefined || rules.http.some((rule) => isHttp(rule, request)));
}

/** Envoy's safe_regex matches the whole of `:method` and of `:path`, which has its query. */
function isHttp({ method, path }: z.infer<typeof http>, request: { method: string; path: string }): boolean {
  const whole = (pattern: string | undefined, text: string) =>
    pattern === undefined || new RegExp(`^(?:${pattern})$`).test(text);
  return whole(method, request.method) && whole(path, request.path);
}

function isPort(list: readonly z.infer<typeof port>[] | undefined, number: number): boolean {
  if (list === undefined) return true;
  return list.some(({ port, endPort }) => {
    const first = Number(port);
    return first === 0 || (endPort === undefined ? number === first : number >= first && number <= endPort);
  });
}

type AllowPort = {
  readonly ports?: readonly z.infer<typeof port>[] | undefined;
  readonly rules?: { readonly http: z.infer<typeof http>[] } | undefined;
};
type Source = Pick<
  NonNullable<CiliumPolicy['spec']['ingress']>[number],
  'fromEndpoints' | 'fromCIDR' | 'fromEntities'
>;

function isFrom(
  { fromEndpoints, fromCIDR, fromEntities }: Source,
  from: Attempt['from'],
  home: string,
): boolean {
  const none = fromEndpoints === undefined && fromCIDR === undefined && fromEntities === undefined;
  // An empty rule selects nobody; one that only has ports would select everybody, which `none` cannot tell apart
  // here, so it is refused by the caller's schema tests instead.
  if (none) return false;
  if ('ip' in from) {
    // "CIDR rules do not apply to traffic where both sides are managed by Cilium."
    return (
      (fromCIDR ?? []).some((block) => inBlock(from.ip, block)) || (fromEntities ?? []).includes('world')
    );
  }
  if ('entity' in from) return (fromEntities ?? []).some((name) => name === from.entity);
  return (fromEndpoints ?? []).some((one) => selected(one, from, home));
}

/** Labels as Cilium sees them; a selector without the namespace's label means the policy's own namespace. */
function selected(
  { matchLabels = {}, matchExpressions = [] }: z.infer<typeof selector>,
  pod: Endpoint,
  home: string,
): boolean {
  const labels = new Map([
    ...Object.entries(pod.labels).map(([key, value]) => [`k8s:${key}`, value] as const),
    ['k8s:io.kubernetes.pod.namespace', pod.namespace],
    ['k8s:io.cilium.k8s.policy.serviceaccount', pod.account],
  ]);
  const key = 'k8s:io.kubernetes.pod.namespace';
  const names = Object.hasOwn(matchLabels, key) || matchExpressions.some((one) => one.key === key);
  if (!names && pod.namespace !== home) return false;
  return (
    Object.entries(matchLabels).every(([name, value]) => labels.get(name) === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels.get(key);
      if (operator === 'Exists') return value !== undefined;
      const listed = value !== undefined && values.includes(value);
      return operator === 'In' ? listed : !listed;
    })
  );
}
