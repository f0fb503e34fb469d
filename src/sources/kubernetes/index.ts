import { type Fact, factKey, InterlockError, type Tally, WORKLOAD_KINDS } from '../../access/index.ts';
import type { Reader, Source } from '../source.ts';
import { readDocuments } from './documents.ts';
import { Fields, isRecord, isTooDeep, WrongField } from './fields.ts';
import {
  type KubernetesObject,
  readConfigMap,
  readEndpoints,
  readName,
  readNode,
  readService,
  readWorkload,
} from './objects.ts';
import { Owners, readOwner } from './owners.ts';
import { podFact, type ReadPod, readPod } from './pods.ts';

/** Kubernetes manifests and `kubectl get -o json|yaml`: an inventory of workloads, pods, Services and addresses. */
export const source: Source = { format: 'kubernetes', framing: 'document', detect, open };

/** Lists hold objects, and a file may hold lists of lists; deeper is nobody's inventory. */
const MAX_LISTS = 3;
/** Kinds that are named one by one when they are not used; the names come from outside. */
const MAX_NAMED_KINDS = 50;

/** The kinds that are read, by API group: other groups have kinds of the same name (Knative's Service). */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  '': ['Pod', 'Service', 'ServiceAccount', 'ConfigMap', 'Node', 'Endpoints', 'ReplicationController'],
  apps: ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'],
  extensions: ['Deployment', 'DaemonSet', 'ReplicaSet'],
  batch: ['Job', 'CronJob'],
  'discovery.k8s.io': ['EndpointSlice'],
};

function detect(start: string): number {
  const head = start.replace(/^\uFEFF/, '');
  if (/^\s*[[{]/.test(head)) {
    if (!/"apiVersion"\s*:\s*"/.test(head)) return 0;
    return /^\s*[[{][\s{]*"(apiVersion|kind|metadata|items|spec)"\s*:/.test(head) ? 1 : 0.3;
  }
  const [version, kind] = [/^apiVersion:\s*\S/m, /^(kind|items|metadata):/m].map((line) => line.test(head));
  return version && kind ? 1 : version ? 0.3 : 0;
}

function open(tally: Tally): Reader {
  const inventory = new InventoryReader(tally);
  return {
    line: (bytes) => inventory.read(decode(bytes)),
    end: () => inventory.end(),
  };
}

/** PowerShell's `>` writes UTF-16 with a byte order mark; everything else writes UTF-8. */
function decode(bytes: Buffer): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe;
  return bytes.toString(isUtf16 ? 'utf16le' : 'utf8').replace(/^\uFEFF/, '');
}

class InventoryReader {
  readonly #tally: Tally;
  readonly #owners = new Owners();
  /** Facts by key, so that a Service wins over endpoints of its name wherever either stands. */
  readonly #facts = new Map<string, Fact>();
  readonly #weakFacts: Fact[] = [];
  readonly #pods: ReadPod[] = [];
  readonly #unusedKinds = new Set<string>();
  #objects = 0;

  constructor(tally: Tally) {
    this.#tally = tally;
  }

  read(text: string): void {
    readDocuments(text, {
      value: (value, line) => this.#value(value, line, 0),
      broken: (reason, line, detail) => {
        this.#tally.read++;
        this.#tally.skip(reason, line, detail);
      },
    });
  }

  end(): void {
    if (this.#objects === 0 && this.#tally.read > 0) {
      const [first] = this.#tally.skips();
      const found = first === undefined ? '' : ` (line ${first.firstLine}: ${first.reason})`;
      throw new InterlockError(
        'invalid_recording',
        'kubernetes',
        `it holds no Kubernetes object${found}: give manifests (YAML) or the output of kubectl get -o json`,
      );
    }
    for (const fact of this.#weakFacts) if (!this.#facts.has(factKey(fact))) this.#add(fact);
    this.#addPods();
    for (const [key, fact] of this.#facts) this.#tally.fact(key, fact);
  }

  /** An object, or a list of them. */
  #value(value: unknown, line: number, lists: number): void {
    const items = itemsOf(value);
    if (items !== undefined && lists < MAX_LISTS) {
      for (const item of items) this.#value(item, line, lists + 1);
      return;
    }
    this.#tally.read++;
    if (!isRecord(value)) {
      this.#tally.skip('not a Kubernetes object', line, typeof value);
      return;
    }
    const title = titleOf(value);
    if (title === undefined) {
      this.#tally.skip('no apiVersion and kind: not a Kubernetes object', line, 'an object');
      return;
    }
    this.#objects++;
    const reason = this.#object(value, title);
    if (reason === undefined) this.#tally.accepted++;
    else this.#tally.skip(reason, line, nameOf(value, title.kind));
  }

  /** Takes one object in; gives the reason where it does not. */
  #object(value: object, { group, kind }: Title): string | undefined {
    if (kind === 'Secret' && group === '') return 'Secret: never read';
    if (!isUsed({ group, kind })) return this.#unused(group === '' ? kind : `${kind} (${group})`);
    if (isTooDeep(value)) return `${kind}: nested too deep`;
    try {
      const fields = new Fields(value);
      const metadata = fields.in('metadata');
      const namespace = metadata.text('namespace') === undefined ? 'default' : metadata.name('namespace');
      return this.#read({ kind, namespace, name: readName(metadata), metadata, fields });
    } catch (error) {
      if (error instanceof WrongField) return `${kind}: ${error.message}`;
      throw error;
    }
  }

  #read(object: KubernetesObject): string | undefined {
    const { kind, namespace, name } = object;
    switch (kind) {
      case 'Pod':
        this.#pods.push(readPod(object));
        return undefined;
      case 'Service':
        this.#add(readService(object));
        return undefined;
      case 'Endpoints':
      case 'EndpointSlice': {
        const fact = readEndpoints(object);
        if (fact === undefined) return `${kind} of pods: the Service's selector says the same`;
        this.#weakFacts.push(fact);
        return undefined;
      }
      case 'ConfigMap':
        this.#add(readConfigMap(object));
        return undefined;
      case 'Node':
        this.#add(readNode(object));
        return undefined;
      case 'ServiceAccount':
        this.#add({ fact: 'serviceAccount', namespace, name });
        return undefined;
      default:
        this.#workload(object);
        return undefined;
    }
  }

  #workload(object: KubernetesObject): void {
    const { namespace, name } = object;
    const kind = WORKLOAD_KINDS.find((k) => k === object.kind);
    if (kind === undefined) return;
    if (kind === 'ReplicaSet' || kind === 'Job') {
      const owner = readOwner(object.metadata);
      this.#owners.add(namespace, { kind, name }, owner);
      // Made by another workload, which stands for it.
      if (owner !== undefined) return;
    }
    this.#add(readWorkload(kind, object));
  }

  /** Pods, and for workloads that only they tell of, what the newest of them shows. */
  #addPods(): void {
    const stated = new Set<string>();
    for (const fact of this.#facts.values()) {
      if (fact.fact === 'workload') stated.add(`${fact.namespace}/${fact.name}`);
    }
    const newest = new Map<string, { pod: ReadPod; name: string }>();
    for (const pod of this.#pods) {
      const owner = this.#owners.workloadOf(pod.owned);
      const fact = podFact(pod, owner);
      if (fact !== undefined) this.#add(fact);
      const place = `${pod.owned.namespace}/${owner.name}`;
      const known = newest.get(place);
      const isNewer = known === undefined || (pod.ran?.start ?? 0) > (known.pod.ran?.start ?? 0);
      if (!stated.has(place) && isNewer) newest.set(place, { pod, name: owner.name });
    }
    for (const { pod, name } of newest.values()) this.#add({ ...pod.workload, name });
  }

  #add(fact: Fact): void {
    this.#facts.set(factKey(fact), fact);
  }

  #unused(kind: string): string {
    if (this.#unusedKinds.size >= MAX_NAMED_KINDS && !this.#unusedKinds.has(kind)) {
      return 'kind not used: others';
    }
    this.#unusedKinds.add(kind);
    return `kind not used: ${kind}`;
  }
}

interface Title {
  readonly group: string;
  readonly kind: string;
}

function isUsed({ group, kind }: Title): boolean {
  return Object.hasOwn(GROUPS, group) && (GROUPS[group] ?? []).includes(kind);
}

/** The objects in a list: JSON's own, or Kubernetes' `List`, `PodList`, ..., whose items may leave their kind out. */
function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (!isRecord(value)) return undefined;
  const { kind, apiVersion, items } = value as { kind?: unknown; apiVersion?: unknown; items?: unknown };
  if (typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items)) return undefined;
  const itemKind = kind.slice(0, -'List'.length);
  if (itemKind === '') return items;
  const titled = (item: unknown) => (isRecord(item) ? { kind: itemKind, apiVersion, ...item } : item);
  return items.map(titled);
}

function titleOf(value: object): Title | undefined {
  const { kind, apiVersion } = value as { kind?: unknown; apiVersion?: unknown };
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') return undefined;
  if (!/^[A-Za-z][A-Za-z0-9]{0,62}$/.test(kind) || !/^[a-z0-9./-]{1,253}$/i.test(apiVersion))
    return undefined;
  const slash = apiVersion.indexOf('/');
  return { kind, group: slash < 0 ? '' : apiVersion.slice(0, slash) };
}

/** The object as it is shown to a person; none of its contents beside its name. */
function nameOf(value: object, kind: string): string {
  const { metadata } = value as { metadata?: { name?: unknown; namespace?: unknown } | null };
  const { name, namespace } = metadata ?? {};
  const shown = typeof name === 'string' ? name.slice(0, 100) : '(no name)';
  const place = typeof namespace === 'string' ? `${namespace.slice(0, 63)}/` : '';
  return `${kind} ${place}${shown}`.replace(/[^\x20-\x7e]/g, '?');
}
