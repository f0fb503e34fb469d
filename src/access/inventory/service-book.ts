import type { ServiceFact } from './facts.ts';

/** What a host name means to a client in a namespace. */
export type Found =
  | { readonly kind: 'service'; readonly service: ServiceFact }
  | { readonly kind: 'several'; readonly namespaces: readonly string[] }
  /** The name of one pod's address: `10-1-2-3.shop.pod.cluster.local`. */
  | { readonly kind: 'ip'; readonly ip: string }
  /** Not in the inventory; `local` says whether it can only mean something inside a cluster. */
  | { readonly kind: 'none'; readonly local: boolean };

/** The end of a chain of ExternalName Services: a name outside. */
export interface Alias {
  readonly kind: 'alias';
  readonly host: string;
}

/** ExternalName Services may point at each other; resolvers give up after about this many aliases, too. */
const MAX_ALIASES = 8;

type Place = readonly [namespace: string, name: string];

/**
 * The Services of an inventory, found by the names that clients write (Kubernetes DNS specification: SERVICE,
 * SERVICE.NAMESPACE, SERVICE.NAMESPACE.svc.ZONE, and POD.SERVICE... below a headless Service).
 */
export class ServiceBook {
  readonly #namespaces = new Map<string, Map<string, ServiceFact>>();

  constructor(services: Iterable<ServiceFact>) {
    for (const service of services) {
      let names = this.#namespaces.get(service.namespace);
      if (names === undefined) {
        names = new Map();
        this.#namespaces.set(service.namespace, names);
      }
      names.set(service.name, service);
    }
  }

  get(namespace: string, name: string): ServiceFact | undefined {
    return this.#namespaces.get(namespace)?.get(name);
  }

  hasNamespace(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  *all(): Iterable<ServiceFact> {
    for (const names of this.#namespaces.values()) yield* names.values();
  }

  /**
   * The Service that `host` names for a client in `namespace`. Without a namespace a bare name means `default`'s,
   * else the only one there is; several are not chosen between.
   */
  find(host: string, namespace: string | undefined): Found {
    const labels = hostLabels(host);
    if (labels.length === 1 && namespace === undefined) return this.#anywhere(labels[0] ?? '');
    if (labels[2] === 'pod' && /^\d{1,3}(-\d{1,3}){3}$/.test(labels[0] ?? '')) {
      return { kind: 'ip', ip: (labels[0] ?? '').replaceAll('-', '.') };
    }
    for (const [ns, name] of this.#places(labels, namespace ?? 'default')) {
      const service = this.get(ns, name);
      if (service !== undefined) return { kind: 'service', service };
    }
    return { kind: 'none', local: this.#isLocal(labels) };
  }

  /** Follows a Service that only stands for another name (ExternalName) to its end. */
  follow(found: Found): Found | Alias {
    let at = found;
    for (let i = 0; i < MAX_ALIASES; i++) {
      if (at.kind !== 'service' || at.service.externalName === undefined) return at;
      const { externalName, namespace } = at.service;
      const next = this.find(externalName, namespace);
      if (next.kind !== 'service') return { kind: 'alias', host: hostLabels(externalName).join('.') };
      at = next;
    }
    return { kind: 'none', local: true };
  }

  /** Where the labels may point, in the order in which a pod's resolver tries its search domains. */
  *#places(labels: readonly string[], namespace: string): Iterable<Place> {
    const [a = '', b = '', c = ''] = labels;
    if (labels.length === 1) yield [namespace, a];
    const svc = labels.indexOf('svc');
    if (svc === 2 || svc === 3) {
      yield [labels[svc - 1] ?? '', labels[svc - 2] ?? ''];
      return;
    }
    if (labels.length === 2) {
      const own = this.get(namespace, b);
      if (own !== undefined && isHeadless(own)) yield [namespace, b];
      yield [b, a];
    }
    const below = labels.length === 3 ? this.get(c, b) : undefined;
    if (below !== undefined && isHeadless(below)) yield [c, b];
  }

  #anywhere(name: string): Found {
    const own = this.get('default', name);
    if (own !== undefined) return { kind: 'service', service: own };
    const found = [...this.#namespaces.values()].flatMap((names) => names.get(name) ?? []);
    const [service] = found;
    if (service === undefined) return { kind: 'none', local: true };
    if (found.length === 1) return { kind: 'service', service };
    return { kind: 'several', namespaces: found.map((s) => s.namespace).sort() };
  }

  #isLocal(labels: readonly string[]): boolean {
    if (labels.length === 1) return true;
    const svc = labels.indexOf('svc');
    return svc === 2 || svc === 3 || (labels.length <= 3 && this.hasNamespace(labels.at(-1) ?? ''));
  }
}

/** A headless Service's name gives its pods' own addresses: no port is translated on the way. */
export function isHeadless(service: ServiceFact): boolean {
  return service.clusterIps.includes('None');
}

/** The labels of a host name in lower case, without a root dot and without a port. */
export function hostLabels(host: string): string[] {
  return host.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '').split('.');
}
