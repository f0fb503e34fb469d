import { type PodFact, type ServiceFact, WORKLOAD_KINDS, type WorkloadFact } from './facts.ts';
import { byName, order } from '../order.ts';

/** The time for questions about what is configured: pods that are known to have ended do not count. */
export const NOW = Number.POSITIVE_INFINITY;

/** What an inventory says under one workload name. */
export interface Known {
  /** Manifests, strongest kind first. A bare Pod's (or what pods say of their owner) counts where there is no other. */
  readonly facts: readonly WorkloadFact[];
  readonly pods: readonly PodFact[];
}

/** A workload that a selector selects by its manifest, or else through some of its pods. */
interface Candidate {
  readonly name: string;
  readonly stated: boolean;
  readonly pods: readonly PodFact[];
}

type Labels = Readonly<Record<string, string>>;

/** The workloads of an inventory by namespace and name, with their pods. */
export class WorkloadIndex {
  readonly #namespaces = new Map<string, Map<string, { facts: WorkloadFact[]; pods: PodFact[] }>>();
  readonly #pods = new Map<string, Map<string, PodFact[]>>();
  readonly #namespacesByName = new Map<string, string[]>();
  readonly #candidates = new Map<ServiceFact, readonly Candidate[]>();

  constructor(facts: Iterable<WorkloadFact>, pods: Iterable<PodFact>) {
    for (const fact of facts) this.#entry(fact.namespace, fact.name).facts.push(fact);
    for (const pod of pods) {
      this.#entry(pod.namespace, pod.workload).pods.push(pod);
      pushInto(inner(this.#pods, pod.namespace), pod.name, pod);
    }
    for (const [namespace, names] of [...this.#namespaces].toSorted(byName)) {
      for (const [name, { facts, pods }] of names) {
        pushInto(this.#namespacesByName, name, namespace);
        names.set(name, { facts: strongest(facts, pods), pods: pods.toSorted(byStart) });
      }
    }
  }

  get(namespace: string, name: string): Known | undefined {
    return this.#namespaces.get(namespace)?.get(name);
  }

  hasNamespace(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  /** Namespaces that have a workload of this name, in order of their names. */
  namespacesOf(name: string): readonly string[] {
    return this.#namespacesByName.get(name) ?? [];
  }

  /** Pods of this name: several where a name was used again. */
  podsNamed(namespace: string, pod: string): readonly PodFact[] {
    return this.#pods.get(namespace)?.get(pod) ?? [];
  }

  *all(): Iterable<Known> {
    for (const names of this.#namespaces.values()) yield* names.values();
  }

  /**
   * Names of the workloads that a Service's selector selects. Workloads known only from pods count where one of
   * those pods may have lived in [from, to].
   */
  selected(service: ServiceFact, from: number, to: number): string[] {
    let candidates = this.#candidates.get(service);
    if (candidates === undefined) {
      candidates = this.#candidatesOf(service);
      this.#candidates.set(service, candidates);
    }
    return candidates
      .filter(({ stated, pods }) => stated || pods.some((pod) => livedIn(pod, from, to)))
      .map(({ name }) => name);
  }

  #candidatesOf({ namespace, selector }: ServiceFact): Candidate[] {
    const candidates: Candidate[] = [];
    for (const [name, known] of this.#namespaces.get(namespace) ?? []) {
      const stated = known.facts.some(({ labels }) => matches(selector, labels));
      const pods = stated ? [] : known.pods.filter(({ labels }) => matches(selector, labels));
      if (stated || pods.length > 0) candidates.push({ name, stated, pods });
    }
    return candidates.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #entry(namespace: string, name: string) {
    const names = inner(this.#namespaces, namespace);
    let entry = names.get(name);
    if (entry === undefined) {
      entry = { facts: [], pods: [] };
      names.set(name, entry);
    }
    return entry;
  }
}

/** Whether the pod may have lived at some time in [from, to]. */
export function livedIn(pod: PodFact, from: number, to: number): boolean {
  return (pod.start ?? Number.NEGATIVE_INFINITY) <= to && (pod.end ?? Number.POSITIVE_INFINITY) >= from;
}

/**
 * The workload as its manifest states it, or as its newest pod shows it. Fields of a manifest of kind Pod are
 * kept, under the kind of the owner that the pods name.
 */
export function workloadOf({ facts, pods }: Known): WorkloadFact | undefined {
  const [fact] = facts;
  if (fact !== undefined) return fact;
  const pod = pods.at(-1);
  if (pod === undefined) return undefined;
  return {
    fact: 'workload',
    kind: pod.workloadKind ?? 'Pod',
    namespace: pod.namespace,
    name: pod.workload,
    serviceAccount: pod.serviceAccount,
    labels: pod.labels,
    ports: pod.ports,
    images: pod.images,
    hostNetwork: pod.hostNetwork,
    marks: {},
    declares: [],
    configMaps: [],
  };
}

/**
 * When the newest set of images was first seen among the pods, milliseconds since 1970 UTC. One pod alone, or
 * pods of one start, show no deployment: undefined.
 */
export function newestImagesSince(pods: readonly PodFact[]): number | undefined {
  const firstStarts = new Map<string, number>();
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { start, images } of pods) {
    if (start === undefined) continue;
    first = Math.min(first, start);
    last = Math.max(last, start);
    const key = images.toSorted().join('\n');
    firstStarts.set(key, Math.min(start, firstStarts.get(key) ?? start));
  }
  return firstStarts.size >= 2 || last > first ? Math.max(...firstStarts.values()) : undefined;
}

function strongest(facts: readonly WorkloadFact[], pods: readonly PodFact[]): WorkloadFact[] {
  const rank = (fact: WorkloadFact) => WORKLOAD_KINDS.indexOf(fact.kind);
  const real = facts.filter(({ kind }) => kind !== 'Pod').toSorted((a, b) => rank(a) - rank(b));
  if (real.length > 0) return real;
  const owner = pods.toSorted(byStart).findLast(({ workloadKind }) => workloadKind !== undefined);
  return facts.map((fact) => ({ ...fact, kind: owner?.workloadKind ?? fact.kind }));
}

const byStart = (a: PodFact, b: PodFact) => (a.start ?? 0) - (b.start ?? 0) || order(a.name, b.name);

function matches(selector: Labels, labels: Labels): boolean {
  const wanted = Object.entries(selector);
  return (
    wanted.length > 0 && wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)
  );
}

function inner<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let found = map.get(key);
  if (found === undefined) {
    found = new Map();
    map.set(key, found);
  }
  return found;
}

function pushInto<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
