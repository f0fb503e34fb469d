import { AddressBook } from './address-book.ts';
import { type Declarer, declarationsOf } from './declarations.ts';
import type { Endpoint } from '../endpoint.ts';
import {
  type Attribution,
  type ConfigMapFact,
  type Declaration,
  type Fact,
  factKey,
  type NodeFact,
  type PodFact,
  type ServiceFact,
  type WorkloadFact,
} from './facts.ts';
import { canonicalIp } from './ip.ts';
import { DEFAULT_NAMESPACE, EndResolver, isApiServer, type Resolved } from './resolver.ts';
import { hostLabels, isHeadless, ServiceBook } from './service-book.ts';
import { ServicePorts, soleOf } from './service-ports.ts';
import { type Known, NOW, newestImagesSince, WorkloadIndex, workloadOf } from './workload-index.ts';

export type { Resolved } from './resolver.ts';

/** A declaration that names a Service of the inventory. */
export interface Declared {
  readonly from: Declarer;
  readonly to: Resolved;
  /** The callee's container port, 0 where it is not known. */
  readonly port: number;
  /** As a person finds it: `env REDIS_ADDR of container server in Deployment cartservice`. */
  readonly where: string;
  readonly by: Declaration['by'];
}

/** A declaration that looks like one of a Service, which the inventory does not have. */
export interface Undeclared {
  readonly from: Declarer;
  readonly host: string;
  readonly port?: number;
  readonly where: string;
}

/** Everything an inventory says about names, addresses and ports. What it does not say for certain is not given. */
export class Directory implements Attribution {
  readonly #addresses = new AddressBook();
  readonly #services: ServiceBook;
  readonly #workloads: WorkloadIndex;
  readonly #ports: ServicePorts;
  readonly #resolver: EndResolver;
  readonly #configMaps: ConfigMapFact[] = [];

  /** Later facts replace earlier ones of the same {@link factKey}. */
  constructor(facts: Iterable<Fact>) {
    const latest = new Map<string, Fact>();
    for (const fact of facts) latest.set(factKey(fact), fact);
    const workloads: WorkloadFact[] = [];
    const pods: PodFact[] = [];
    const services: ServiceFact[] = [];
    for (const fact of latest.values()) {
      if (fact.fact === 'workload') workloads.push(fact);
      else if (fact.fact === 'pod') pods.push(fact);
      else if (fact.fact === 'service') services.push(fact);
      else if (fact.fact === 'node') this.#claimNode(fact);
      else if (fact.fact === 'configMap') this.#configMaps.push(fact);
    }
    this.#workloads = new WorkloadIndex(workloads, pods);
    this.#services = new ServiceBook(services);
    this.#ports = new ServicePorts(this.#services, this.#workloads);
    this.#resolver = new EndResolver(this.#services, this.#workloads, this.#addresses);
    for (const pod of pods) this.#claimPod(pod);
    for (const service of services) this.#claimService(service);
  }

  /** The pod, Service or node (`entity: host`) that held the address all through [from, to], or undefined. */
  attribute(ip: string, from: number, to: number): Endpoint | undefined {
    return this.#addresses.holder(ip, from, to);
  }

  /** What the end is, judged by its strongest name and the time in which it was seen. */
  resolve(end: Endpoint, from: number, to: number): Resolved {
    return this.#resolver.resolve(end, from, to);
  }

  /** The workload of that name: its manifest, or what its pods show of it. */
  workload(namespace: string, name: string): WorkloadFact | undefined {
    const known = this.#workloads.get(namespace, name);
    return known === undefined ? undefined : workloadOf(known);
  }

  /** All workloads; two of one name and of different kinds are two. */
  *workloads(): Iterable<WorkloadFact> {
    for (const known of this.#workloads.all()) yield* factsOf(known);
  }

  /** When the newest image set was first seen among the workload's pods; see {@link newestImagesSince}. */
  deployedAt(namespace: string, name: string): number | undefined {
    return newestImagesSince(this.#workloads.get(namespace, name)?.pods ?? []);
  }

  /** The container port behind the Service's port, where the inventory states it without doubt. */
  containerPort(
    end: Endpoint | { namespace: string; host: string },
    servicePort: number,
  ): number | undefined {
    const { namespace, host, workload, ip }: Endpoint = end;
    if (host !== undefined) {
      const found = this.#services.follow(this.#services.find(host, namespace || undefined));
      return found.kind === 'service' ? this.#ports.containerPort(found.service, servicePort) : undefined;
    }
    if (workload !== undefined) {
      const ports = this.#ports
        .servicesOf(namespace || DEFAULT_NAMESPACE, workload)
        .filter((service) => service.ports.some(({ port }) => port === servicePort))
        .map((service) => this.#ports.containerPort(service, servicePort));
      return soleOf(ports);
    }
    const holder = ip === undefined ? undefined : this.#serviceAt(ip);
    return holder === undefined ? undefined : this.containerPort(holder, servicePort);
  }

  /** The container port, when the Services that select the workload lead to exactly one. */
  solePort(namespace: string, workload: string): number | undefined {
    return soleOf(
      this.#ports
        .servicesOf(namespace, workload)
        .flatMap((service) => service.ports.map(({ port }) => this.#ports.containerPort(service, port))),
    );
  }

  /** Declarations that name a Service of the inventory, at a port that the Service has. */
  *declared(): Iterable<Declared> {
    for (const { from, host, port, where, by } of declarationsOf(this.workloads(), this.#configMaps)) {
      const service = this.#declaredService(host, port, from.namespace);
      if (service === undefined) continue;
      const only = service.ports.length === 1 ? service.ports[0]?.port : undefined;
      const known = port ?? only;
      yield {
        from,
        to: this.#resolver.service(service, NOW, NOW),
        port: known === undefined ? 0 : (this.#ports.containerPort(service, known) ?? 0),
        where,
        by,
      };
    }
  }

  /** Declarations that can only mean a Service, which the inventory does not have, or not at that port. */
  *unresolved(): Iterable<Undeclared> {
    for (const { from, host, port, where } of declarationsOf(this.workloads(), this.#configMaps)) {
      if (this.#declaredService(host, port, from.namespace) !== undefined) continue;
      const found = this.#services.find(host, from.namespace);
      const looksLikeOne =
        found.kind === 'service' || (found.kind === 'none' && (found.local || this.#isLocalName(host)));
      // A bare word without a port may be anything: a company's city, a log's name.
      const bare = port === undefined && !host.includes('.');
      if (!looksLikeOne || bare || canonicalIp(host) !== undefined || isApiServer(host)) continue;
      yield { from, host, ...(port === undefined ? {} : { port }), where };
    }
  }

  #claimNode({ ips }: NodeFact): void {
    for (const ip of ips)
      this.#addresses.claim(ip, { by: 'host', holder: { entity: 'host', ip }, forever: true });
  }

  #claimPod(pod: PodFact): void {
    const { namespace, workload, serviceAccount, start, end } = pod;
    if (pod.hostNetwork && start === undefined) return;
    const times = { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
    for (const ip of pod.ips) {
      const holder: Endpoint = pod.hostNetwork
        ? { entity: 'host', ip }
        : { namespace, workload, serviceAccount, pod: pod.name };
      const by = pod.hostNetwork ? 'host' : factKey(pod);
      this.#addresses.claim(ip, { by, ...(start === undefined ? {} : { holder }), ...times });
    }
  }

  #claimService({ namespace, name, clusterIps }: ServiceFact): void {
    for (const ip of clusterIps) {
      this.#addresses.claim(ip, {
        by: `service ${namespace}/${name}`,
        holder: { namespace, host: name },
        forever: true,
      });
    }
  }

  #serviceAt(ip: string): { namespace: string; host: string } | undefined {
    const holder = this.#addresses.holder(ip, 0, 0);
    return holder?.host === undefined
      ? undefined
      : { namespace: holder.namespace ?? DEFAULT_NAMESPACE, host: holder.host };
  }

  #declaredService(host: string, port: number | undefined, namespace: string): ServiceFact | undefined {
    const at = canonicalIp(host) === undefined ? undefined : this.#serviceAt(host);
    const found =
      at === undefined ? this.#services.find(host, namespace) : this.#services.find(at.host, at.namespace);
    if (found.kind !== 'service') return undefined;
    const { service } = found;
    const open = port === undefined || service.ports.length === 0 || isHeadless(service);
    const hasPort = open || service.externalName !== undefined || service.ports.some((p) => p.port === port);
    return hasPort ? service : undefined;
  }

  #isLocalName(host: string): boolean {
    const labels = hostLabels(host);
    return labels.length === 2 && this.#workloads.hasNamespace(labels[1] ?? '');
  }
}

function factsOf(known: Known): readonly WorkloadFact[] {
  if (known.facts.length > 0) return known.facts;
  const fact = workloadOf(known);
  return fact === undefined ? [] : [fact];
}
