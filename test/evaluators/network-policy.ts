import { BlockList, isIP } from 'node:net';
import { z } from 'zod';

/**
 * An evaluator of networking.k8s.io/v1 NetworkPolicy, ingress side, written from the API reference and the concept
 * page "Network Policies" alone. Unknown fields are refused, so that a document with a slip of the pen does not
 * pass for a stricter or a looser one.
 */

const requirement = z.strictObject({
  key: z.string().min(1),
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
  values: z.array(z.string()).optional(),
});

const selector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z.array(requirement).optional(),
});
type Selector = z.infer<typeof selector>;

const cidr = z.string().refine((text) => {
  const [address = '', bits = '', ...more] = text.split('/');
  const width = isIP(address) === 4 ? 32 : 128;
  return isIP(address) !== 0 && more.length === 0 && /^\d+$/.test(bits) && Number(bits) <= width;
});

const peer = z
  .strictObject({
    podSelector: selector.optional(),
    namespaceSelector: selector.optional(),
    ipBlock: z.strictObject({ cidr, except: z.array(cidr).optional() }).optional(),
  })
  // "If this field is set then neither of the other fields can be"; an empty peer is refused by validation.
  .refine(
    (p) => (p.ipBlock === undefined) !== (p.podSelector === undefined && p.namespaceSelector === undefined),
  )
  // "Except values will be rejected if they are outside the cidr range": strictly inside, by validation.
  .refine(({ ipBlock }) =>
    (ipBlock?.except ?? []).every((inner) => {
      const [address = '', bits] = inner.split('/');
      const [outerAddress = '', outerBits] = (ipBlock?.cidr ?? '').split('/');
      return (
        isIP(address) === isIP(outerAddress) &&
        Number(bits) > Number(outerBits) &&
        inBlock(address, ipBlock?.cidr ?? '')
      );
    }),
  );

const port = z
  .strictObject({
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
    port: z.union([z.int().min(1).max(65_535), z.string()]).optional(),
    endPort: z.int().min(1).max(65_535).optional(),
  })
  .refine(({ port, endPort }) => endPort === undefined || (typeof port === 'number' && port <= endPort));

const rule = z.strictObject({ from: z.array(peer).optional(), ports: z.array(port).optional() });

const schema = z.strictObject({
  apiVersion: z.literal('networking.k8s.io/v1'),
  kind: z.literal('NetworkPolicy'),
  metadata: z.strictObject({
    name: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
    namespace: z.string(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.strictObject({
    podSelector: selector,
    policyTypes: z.array(z.enum(['Ingress', 'Egress'])).optional(),
    ingress: z.array(rule).optional(),
    egress: z.array(z.unknown()).optional(),
  }),
});

export type NetworkPolicy = z.infer<typeof schema>;

/** Reads a rendered document; throws where it is not a NetworkPolicy that an API server would take. */
export function readNetworkPolicy(document: unknown): NetworkPolicy {
  return schema.parse(document);
}

export interface EvaluatedPod {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ip: string;
  /** Container ports by name, for policies that name ports. */
  readonly ports?: Readonly<Record<string, number>>;
}

export interface Connection {
  /** A pod of the cluster, or an address outside. */
  readonly from: EvaluatedPod | { readonly ip: string };
  readonly to: EvaluatedPod;
  readonly port: number;
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
}

/** Whether the policies let the connection in. `namespaces` gives each namespace's labels beside its own name. */
export function ingressAllowed(
  policies: readonly NetworkPolicy[],
  { from, to, port, protocol = 'TCP' }: Connection,
  namespaces: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map(),
): boolean {
  const own = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === to.namespace &&
      selected(spec.podSelector, to.labels) &&
      types(spec).includes('Ingress'),
  );
  // "By default, a pod is non-isolated for ingress; all inbound connections are allowed."
  if (own.length === 0) return true;
  // "The allowed connections are the union of what the policies allow": there is no order and no deny.
  return own.some(({ spec }) =>
    (spec.ingress ?? []).some((one) => {
      const { from: peers, ports } = one;
      const portOk =
        ports === undefined ||
        ports.length === 0 ||
        ports.some((p) => portMatches(p, port, protocol, to.ports ?? {}));
      // "If this field is empty or missing, this rule matches all sources."
      const peerOk =
        peers === undefined ||
        peers.length === 0 ||
        peers.some((p) => peerMatches(p, from, to.namespace, namespaces));
      return portOk && peerOk;
    }),
  );
}

/** "If no policyTypes are specified, Ingress is set by default, and Egress if the policy has any egress rules." */
function types(spec: NetworkPolicy['spec']): readonly string[] {
  return spec.policyTypes ?? ['Ingress', ...((spec.egress ?? []).length > 0 ? ['Egress'] : [])];
}

function portMatches(
  { protocol, port, endPort }: z.infer<typeof rule>['ports'] extends (infer P)[] | undefined ? P : never,
  number: number,
  used: string,
  names: Readonly<Record<string, number>>,
): boolean {
  if (protocol !== used) return false;
  if (port === undefined) return true;
  const first = typeof port === 'number' ? port : names[port];
  if (first === undefined) return false;
  return endPort === undefined ? number === first : number >= first && number <= endPort;
}

function peerMatches(
  { podSelector, namespaceSelector, ipBlock }: z.infer<typeof peer>,
  from: Connection['from'],
  home: string,
  namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>,
): boolean {
  if (ipBlock !== undefined) {
    return inBlock(from.ip, ipBlock.cidr) && !(ipBlock.except ?? []).some((block) => inBlock(from.ip, block));
  }
  if (!('labels' in from)) return false;
  // Without a namespaceSelector the pods are those of the policy's own namespace; with both, both must hold.
  const labels = { ...namespaces.get(from.namespace), 'kubernetes.io/metadata.name': from.namespace };
  const placed =
    namespaceSelector === undefined ? from.namespace === home : selected(namespaceSelector, labels);
  return placed && (podSelector === undefined || selected(podSelector, from.labels));
}

/** "An empty label selector matches all objects." All requirements must hold. */
function selected(
  { matchLabels = {}, matchExpressions = [] }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  return (
    Object.entries(matchLabels).every(([key, wanted]) => value(key) === wanted) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const found = value(key);
      if (operator === 'Exists') return found !== undefined;
      if (operator === 'DoesNotExist') return found === undefined;
      if (operator === 'In') return found !== undefined && values.includes(found);
      // A missing key is not in the set.
      return found === undefined || !values.includes(found);
    })
  );
}

/** Whether the address is one of the block; IPv4 and IPv6 have none in common. */
export function inBlock(ip: string, block: string): boolean {
  const [first = '', bits] = block.split('/');
  if (isIP(ip) === 0 || isIP(ip) !== isIP(first)) return false;
  const family = isIP(ip) === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(first, Number(bits), family);
  return list.check(ip, family);
}
