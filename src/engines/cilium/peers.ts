import { type Entity, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import type { RenderOptions } from '../engine.ts';
import type { Grant, ProtectedGrants } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { type Pods, podsOf } from '../pods.ts';
import { namespaceBelow } from '../namespaces.ts';

/** Labels that Cilium gives every endpoint (Cilium, "Kubernetes constructs"); `k8s:` pins where they come from. */
const NAMESPACE = 'k8s:io.kubernetes.pod.namespace';
const ACCOUNT = 'k8s:io.cilium.k8s.policy.serviceaccount';

/** One source of connections, as one member of `fromEndpoints`, `fromCIDR` or `fromEntities`. */
export interface Peer {
  readonly field: 'fromEndpoints' | 'fromCIDR' | 'fromEntities';
  readonly value: string | Record<string, unknown>;
  /** The pods are known by labels alone, not by their service account. */
  readonly byLabels: boolean;
}

/** Without the namespace, a CiliumNetworkPolicy would mean the pods of its own namespace. */
const ALL_PODS: Peer = {
  field: 'fromEndpoints',
  value: { matchExpressions: [{ key: NAMESPACE, operator: 'Exists' }] },
  byLabels: false,
};

/** Entities that Cilium knows by the same name (Cilium, "Entities based"). */
const ENTITIES: ReadonlySet<string> = new Set<Entity>([
  'world',
  'host',
  'remote-node',
  'kube-apiserver',
  'ingress',
  'health',
  'init',
  'unmanaged',
]);

/** How the pods of a workload are selected: by their service account where it is theirs alone, else by labels. */
export function endpointLabels(pods: Pods): Record<string, string> {
  if (pods.account !== undefined) return { [ACCOUNT]: pods.account };
  return Object.fromEntries(Object.entries(pods.labels).map(([key, value]) => [`k8s:${key}`, value]));
}

/** Turns the callers of one workload's rules into peers. */
export class Peers {
  readonly #home: string;
  readonly #options: RenderOptions;

  constructor({ id }: ProtectedGrants, options: RenderOptions) {
    this.#home = trustDomainOf(id);
    this.#options = options;
  }

  /** The peer that stands for the caller, or the reason why none does. */
  peerOf({ caller, callerText }: Grant): Peer | { readonly code: string; readonly why: string } {
    switch (caller.kind) {
      case 'cidr':
        return { field: 'fromCIDR', value: callerText, byLabels: false };
      case 'entity':
        if (ENTITIES.has(caller.name)) return { field: 'fromEntities', value: caller.name, byLabels: false };
        return { code: 'entity', why: `Cilium has no entity "${caller.name}"` };
      case 'person':
        return { code: 'user-or-group', why: 'a CiliumNetworkPolicy knows no users or groups' };
      case 'domain':
        return caller.name === this.#home ? ALL_PODS : this.#foreign(callerText);
      case 'prefix': {
        if (!caller.prefix.startsWith(`spiffe://${this.#home}/`)) return this.#foreign(callerText);
        const namespace = namespaceBelow(caller.prefix);
        if (namespace === undefined)
          return { code: 'not-selectable', why: `${callerText} is no whole namespace` };
        return namespace === '' ? ALL_PODS : endpoints({ [NAMESPACE]: namespace }, false);
      }
      case 'exact':
        // A caller that was read from a checked document is a checked ID.
        return this.#workload(caller.id as SpiffeId);
    }
  }

  #workload(id: SpiffeId): ReturnType<Peers['peerOf']> {
    const pods = podsOf(id, this.#options, this.#home);
    if (pods === undefined) {
      if (trustDomainOf(id) !== this.#home) return this.#foreign(id);
      return { code: 'not-selectable', why: `neither the ID nor the state says which pods ${id} has` };
    }
    if (pods.hostNetwork) {
      return {
        code: 'host-network',
        why: `${id} runs on its nodes' own network and has no identity of its own in Cilium`,
      };
    }
    return endpoints({ ...endpointLabels(pods), [NAMESPACE]: pods.namespace }, pods.account === undefined);
  }

  #foreign(text: string): { code: string; why: string } {
    return {
      code: 'other-trust-domain',
      why: `${text} is outside the trust domain of this cluster (${this.#home})`,
    };
  }
}

/** Tells that a rule is left out for a caller. */
export function tellLeftOut(
  losses: Losses,
  grant: Grant,
  { code, why }: { code: string; why: string },
): void {
  losses.add('narrower', code, grant, `The rule is left out for a caller: ${why}.`);
}

function endpoints(matchLabels: Record<string, string>, byLabels: boolean): Peer {
  return { field: 'fromEndpoints', value: { matchLabels }, byLabels };
}
