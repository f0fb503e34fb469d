import type { ServiceFact } from './facts.ts';
import { isHeadless, type ServiceBook } from './service-book.ts';
import { NOW, type WorkloadIndex, workloadOf } from './workload-index.ts';

/** What the ports of Services lead to: callers write the Service's port, policies see the container's. */
export class ServicePorts {
  readonly #services: ServiceBook;
  readonly #workloads: WorkloadIndex;
  #byWorkload: Map<string, ServiceFact[]> | undefined;

  constructor(services: ServiceBook, workloads: WorkloadIndex) {
    this.#services = services;
    this.#workloads = workloads;
  }

  /**
   * The container port behind a Service's port; undefined where the Service has no such port, or a named target
   * that its workloads do not have, or have at different numbers.
   */
  containerPort(named: ServiceFact, servicePort: number): number | undefined {
    const found = this.#services.follow({ kind: 'service', service: named });
    // An alias of a name outside: nothing translates the port on the way there.
    if (found.kind !== 'service') return found.kind === 'alias' ? servicePort : undefined;
    const { service } = found;
    const entry = service.ports.find(({ port }) => port === servicePort);
    const workloads = this.#workloads.selected(service, NOW, NOW).flatMap((name) => {
      const known = this.#workloads.get(service.namespace, name);
      return known === undefined ? [] : (workloadOf(known) ?? []);
    });
    // The name of a headless Service gives the pods' own addresses, where the port is the container's already.
    if (isHeadless(service)) {
      const listens = workloads.some(({ ports }) => ports.some(({ port }) => port === servicePort));
      if (entry === undefined || listens) return servicePort;
    }
    if (entry === undefined) return undefined;
    const { targetPort } = entry;
    if (typeof targetPort === 'number') return targetPort;
    return soleOf(workloads.map(({ ports }) => ports.find(({ name }) => name === targetPort)?.port));
  }

  /** The Services whose selector selects the workload today. */
  servicesOf(namespace: string, workload: string): readonly ServiceFact[] {
    if (this.#byWorkload === undefined) {
      this.#byWorkload = new Map();
      for (const service of this.#services.all()) {
        for (const name of this.#workloads.selected(service, NOW, NOW)) {
          const key = `${service.namespace}/${name}`;
          const known = this.#byWorkload.get(key);
          if (known === undefined) this.#byWorkload.set(key, [service]);
          else known.push(service);
        }
      }
    }
    return this.#byWorkload.get(`${namespace}/${workload}`) ?? [];
  }
}

/** The one value there is; undefined where there is none, several, or one that is not known. */
export function soleOf<T>(values: readonly (T | undefined)[]): T | undefined {
  return new Set(values).size === 1 ? values[0] : undefined;
}
