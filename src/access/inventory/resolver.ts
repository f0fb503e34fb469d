import type { AddressBook } from './address-book.ts';
import type { Endpoint } from '../endpoint.ts';
import type { PodFact, ServiceFact } from './facts.ts';
import { canonicalIp } from './ip.ts';
import { ownersByName } from './pod-names.ts';
import { hostLabels, type ServiceBook } from './service-book.ts';
import { soleOf } from './service-ports.ts';
import { type SpiffeId, spiffeIdOf } from '../spiffe-id.ts';
import { type Known, livedIn, type WorkloadIndex } from './workload-index.ts';

/** What one end of a recorded call is, as far as it is known without guessing. */
export type Resolved =
  | { readonly kind: 'spiffe'; readonly id: SpiffeId }
  /** A workload of the estate. At least one of the two names is there. */
  | {
      readonly kind: 'workload';
      readonly namespace: string;
      readonly workload?: string;
      readonly serviceAccount?: string;
    }
  /** An entity's name, an address or a host name: no workload of this estate. */
  | { readonly kind: 'outside'; readonly from: string }
  /** It could be several workloads, and is none of them until that is known. */
  | { readonly kind: 'ambiguous'; readonly what: string };

/** The namespace of what names none. */
export const DEFAULT_NAMESPACE = 'default';

/** Entities under which a network names what it could not attribute: an inventory may know better. */
const UNSURE: ReadonlySet<string> = new Set(['world', 'unmanaged', 'unknown', 'init']);

/** Decides what an end of a call is, from what an inventory says of names, Services and addresses. */
export class EndResolver {
  readonly #services: ServiceBook;
  readonly #workloads: WorkloadIndex;
  readonly #addresses: AddressBook;

  constructor(services: ServiceBook, workloads: WorkloadIndex, addresses: AddressBook) {
    this.#services = services;
    this.#workloads = workloads;
    this.#addresses = addresses;
  }

  /** What the end is, judged by its strongest name and the time in which it was seen. */
  resolve(end: Endpoint, from: number, to: number): Resolved {
    if (end.spiffeId !== undefined) {
      const id = spiffeIdOf(end.spiffeId);
      return id === undefined ? { kind: 'outside', from: end.spiffeId } : { kind: 'spiffe', id };
    }
    if (end.workload !== undefined) return this.#resolveWorkload(end, end.workload, from, to);
    if (end.pod !== undefined) return this.#resolvePod(end, end.pod, from, to);
    if (end.serviceAccount !== undefined) {
      const namespace = end.namespace || DEFAULT_NAMESPACE;
      return { kind: 'workload', namespace, serviceAccount: end.serviceAccount };
    }
    if (end.host !== undefined) return this.#resolveHost(end.host, end.namespace, from, to);
    if (end.ip !== undefined) return this.#resolveIp(end.ip, end.entity, from, to);
    return { kind: 'outside', from: end.entity ?? 'unknown' };
  }

  #resolveWorkload(end: Endpoint, workload: string, from: number, to: number): Resolved {
    let namespace = end.namespace || undefined;
    if (namespace === undefined) {
      const places = this.#workloads.namespacesOf(workload);
      if (places.length > 1 && !places.includes(DEFAULT_NAMESPACE)) {
        return { kind: 'ambiguous', what: `workload ${workload} of namespace ${places.join(' or ')}` };
      }
      namespace = places.length === 1 ? (places[0] ?? DEFAULT_NAMESPACE) : DEFAULT_NAMESPACE;
    }
    if (end.serviceAccount !== undefined) {
      return { kind: 'workload', namespace, workload, serviceAccount: end.serviceAccount };
    }
    const known = this.#workloads.get(namespace, workload);
    return known === undefined
      ? { kind: 'workload', namespace, workload }
      : withAccount(namespace, workload, known, from, to);
  }

  #resolvePod(end: Endpoint, pod: string, from: number, to: number): Resolved {
    const namespace = end.namespace || DEFAULT_NAMESPACE;
    const named = this.#workloads.podsNamed(namespace, pod);
    const alive = named.filter((p) => livedIn(p, from, to));
    const candidates = alive.length > 0 ? alive : named;
    const workload = soleOf(
      candidates.length > 0
        ? candidates.map((p) => p.workload)
        : ownersByName(pod, (name) => this.#workloads.get(namespace, name)),
    );
    // What the pod ran under counts, not what its workload's manifest says today.
    const serviceAccount = end.serviceAccount ?? soleOf(candidates.map((p) => p.serviceAccount));
    const account = serviceAccount === undefined ? {} : { serviceAccount };
    if (workload !== undefined) {
      return this.#resolveWorkload({ namespace, ...account }, workload, from, to);
    }
    if (end.serviceAccount !== undefined) return { kind: 'workload', namespace, ...account };
    return { kind: 'ambiguous', what: `pod ${namespace}/${pod}` };
  }

  #resolveHost(host: string, namespace: string | undefined, from: number, to: number): Resolved {
    if (isApiServer(host) || (namespace === DEFAULT_NAMESPACE && host === 'kubernetes')) {
      return { kind: 'outside', from: 'kube-apiserver' };
    }
    const ip = canonicalIp(host);
    if (ip !== undefined) return this.#resolveIp(ip, undefined, from, to);
    const found = this.#services.follow(this.#services.find(host, namespace || undefined));
    switch (found.kind) {
      case 'service':
        return this.service(found.service, from, to);
      case 'several':
        return {
          kind: 'ambiguous',
          what: `Service ${host} of namespace ${found.namespaces.join(' or ')}`,
        };
      case 'ip':
        return this.#resolveIp(found.ip, undefined, from, to);
      case 'alias':
        return { kind: 'outside', from: found.host };
      case 'none':
        return { kind: 'outside', from: hostLabels(host).join('.') };
    }
  }

  /** The workload behind a Service: the one it selects, or what stands outside for it. */
  service(service: ServiceFact, from: number, to: number): Resolved {
    const { namespace, name } = service;
    if (namespace === DEFAULT_NAMESPACE && name === 'kubernetes') {
      return { kind: 'outside', from: 'kube-apiserver' };
    }
    const found = this.#services.follow({ kind: 'service', service });
    if (found.kind === 'alias') return { kind: 'outside', from: found.host };
    if (found.kind === 'service' && found.service !== service) {
      return this.service(found.service, from, to);
    }
    if (Object.keys(service.selector).length === 0) {
      return { kind: 'outside', from: `${name}.${namespace}.svc` };
    }
    const names = this.#workloads.selected(service, from, to);
    if (names.length === 1) return this.#resolveWorkload({ namespace }, names[0] ?? name, from, to);
    const which = names.length === 0 ? 'no workload of the inventory' : names.join(', ');
    return { kind: 'ambiguous', what: `Service ${namespace}/${name} (${which})` };
  }

  #resolveIp(ip: string, entity: Endpoint['entity'], from: number, to: number): Resolved {
    const unsure = entity === undefined || UNSURE.has(entity);
    const holder = unsure ? this.#addresses.holder(ip, from, to) : undefined;
    if (holder !== undefined) {
      return holder.entity === undefined
        ? this.resolve(holder, from, to)
        : { kind: 'outside', from: holder.entity };
    }
    if (entity !== undefined && entity !== 'unknown') return { kind: 'outside', from: entity };
    if (this.#addresses.knows(ip)) {
      return { kind: 'ambiguous', what: `address ${ip}, whose holder at that time is not known` };
    }
    return { kind: 'outside', from: canonicalIp(ip) ?? ip };
  }
}

/** The workload with its service account, where all that is known of it names the same one. */
function withAccount(namespace: string, workload: string, known: Known, from: number, to: number): Resolved {
  const stated = new Set(known.facts.map(({ serviceAccount }) => serviceAccount));
  if (stated.size > 1) {
    const kinds = known.facts.map(({ kind }) => kind).join(' and ');
    return { kind: 'ambiguous', what: `${kinds} ${namespace}/${workload}, of different service accounts` };
  }
  const serviceAccount = soleOf([...(stated.size === 1 ? stated : accountsOfPods(known.pods, from, to))]);
  return {
    kind: 'workload',
    namespace,
    workload,
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
  };
}

function accountsOfPods(pods: readonly PodFact[], from: number, to: number): Set<string> {
  const alive = pods.filter((pod) => livedIn(pod, from, to));
  return new Set((alive.length > 0 ? alive : pods).map(({ serviceAccount }) => serviceAccount));
}

/** Whether the host is the cluster's own API, which every cluster has under this name. */
export function isApiServer(host: string): boolean {
  const [name, namespace, svc] = hostLabels(host);
  return name === 'kubernetes' && namespace === 'default' && (svc === undefined || svc === 'svc');
}
