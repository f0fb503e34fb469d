import type { Cidr } from '../../policy/index.ts';

/** Label that every namespace has of itself (Kubernetes, "Automatic labelling": set by the API server). */
export const NAMESPACE_NAME = 'kubernetes.io/metadata.name';

/** Peers that one subtraction may grow to; beyond it the subtraction is given up and said to be so. */
export const MAX_PEERS = 64;

/** Pods by namespace and labels. Both must hold, and none of `without`. */
export interface PodPeer {
  readonly kind: 'pods';
  readonly namespaces: { readonly only: string } | { readonly except: readonly string[] };
  readonly labels: Readonly<Record<string, string>>;
  /** Labels that a pod must not have, as key and value. */
  readonly without: readonly (readonly [key: string, value: string])[];
}

/** Addresses of a block without those of smaller blocks in it. */
export interface BlockPeer {
  readonly kind: 'block';
  readonly text: string;
  readonly cidr: Cidr;
  readonly except: readonly string[];
}

export type Peer = PodPeer | BlockPeer;

/** Whom to take away from pods: everyone, a namespace, or the pods with some labels in one. */
export type Taken =
  | { readonly kind: 'all' }
  | { readonly kind: 'namespace'; readonly namespace: string }
  | {
      readonly kind: 'labels';
      readonly namespace: string;
      readonly labels: Readonly<Record<string, string>>;
    };

/**
 * The peers that together select what `peer` selects without `taken`. A pod has not all of some labels if one of
 * them is missing or another: that is one peer for each label.
 */
export function subtractPods(peer: PodPeer, taken: Taken): PodPeer[] {
  if (taken.kind === 'all') return [];
  const { namespaces } = peer;
  const { namespace } = taken;
  if ('only' in namespaces ? namespaces.only !== namespace : namespaces.except.includes(namespace))
    return [peer];
  const elsewhere: PodPeer[] =
    'only' in namespaces
      ? []
      : [{ ...peer, namespaces: { except: [...namespaces.except, namespace].toSorted() } }];
  if (taken.kind === 'namespace') return elsewhere;
  const here = Object.entries(taken.labels).map(
    (label): PodPeer => ({
      ...peer,
      namespaces: { only: namespace },
      without: [...peer.without, label],
    }),
  );
  return [...elsewhere, ...here];
}

/** The peer as NetworkPolicyPeer. Both selectors are always written: in one peer they are AND. */
export function peerManifest(peer: Peer): Record<string, unknown> {
  if (peer.kind === 'block') {
    const { text, except } = peer;
    return { ipBlock: except.length === 0 ? { cidr: text } : { cidr: text, except: [...except] } };
  }
  return { namespaceSelector: namespaceSelector(peer.namespaces), podSelector: podSelector(peer) };
}

function namespaceSelector(namespaces: PodPeer['namespaces']): Record<string, unknown> {
  if ('only' in namespaces) return { matchLabels: { [NAMESPACE_NAME]: namespaces.only } };
  if (namespaces.except.length === 0) return {};
  return { matchExpressions: [{ key: NAMESPACE_NAME, operator: 'NotIn', values: [...namespaces.except] }] };
}

function podSelector({ labels, without }: PodPeer): Record<string, unknown> {
  const values = Map.groupBy(without, ([key]) => key);
  const matchExpressions = [...values].map(([key, pairs]) => ({
    key,
    operator: 'NotIn',
    values: [...new Set(pairs.map(([, value]) => value))],
  }));
  return {
    ...(Object.keys(labels).length === 0 ? {} : { matchLabels: { ...labels } }),
    ...(matchExpressions.length === 0 ? {} : { matchExpressions }),
  };
}
