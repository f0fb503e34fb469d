import type { Directory } from './directory.ts';
import type { SharedAccount } from '../graph/graph.ts';
import type { WorkloadKind } from './facts.ts';
import { order } from '../order.ts';
import { kubernetesNameOf, parseSpiffeId, parseTrustDomain, type SpiffeId } from '../spiffe-id.ts';

/** A workload as it is named; at least one of the two names is there. */
export interface Named {
  readonly namespace: string;
  readonly workload?: string;
  readonly serviceAccount?: string;
}

/** An identity, and which name it rests on. */
export interface Identity {
  readonly id: SpiffeId;
  readonly identifiedBy: 'service-account' | 'workload-name';
}

/** What one namespace's names say about who runs under which account. */
interface Place {
  /** Path segment of the namespace itself. */
  readonly segment: string;
  readonly accounts: Map<string, Set<string>>;
  readonly workloads: Map<string, Set<string>>;
  /** Names that no SPIFFE ID can carry -> the segment that stands for them. */
  readonly segments: Map<string, string>;
}

/** Longest name that becomes a path segment as it is; Kubernetes allows 253 characters (RFC 1123 subdomain). */
const MAX_NAME = 253;
const KEPT_OF_A_NAME = 64;

/**
 * Gives every workload its SPIFFE ID, `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`. NAME is the service account
 * where one workload has it to itself, else the workload's own name: the account it should get. The result
 * depends on the set of names only, not on their order.
 */
export class Identities {
  /** Accounts that several workloads run under, by namespace and name. */
  readonly shared: readonly SharedAccount[];
  readonly #trustDomain: string;
  readonly #places = new Map<string, Place>();

  /** `all` are the names of the whole estate: sharing shows only there. Throws `invalid_identity`. */
  constructor(trustDomain: string, all: Iterable<Named>) {
    this.#trustDomain = parseTrustDomain(trustDomain);
    for (const named of all) this.#learn(named);
    const namespaces = segmentsFor(this.#places.keys());
    for (const [namespace, place] of this.#places) {
      const names = new Set([...place.accounts.keys(), ...place.workloads.keys()]);
      const segment = namespaces.get(namespace) ?? place.segment;
      this.#places.set(namespace, { ...place, segment, segments: segmentsFor(names) });
    }
    this.shared = this.#sharedAccounts();
  }

  /** The identity of a workload or service account. */
  idOf(named: Named): Identity {
    const namespace = named.namespace || 'default';
    const place = this.#places.get(namespace) ?? newPlace(namespace);
    const { workload } = named;
    const serviceAccount = named.serviceAccount ?? soleAccount(place, workload);
    if (serviceAccount !== undefined && !isShared(place, serviceAccount, workload)) {
      return { id: this.#id(place, serviceAccount), identifiedBy: 'service-account' };
    }
    if (workload === undefined) {
      // Which of the workloads it is, is not known: it stays apart from all of them.
      return { id: this.#id(place, serviceAccount ?? 'unknown'), identifiedBy: 'service-account' };
    }
    return { id: this.#id(place, ownName(place, workload)), identifiedBy: 'workload-name' };
  }

  #learn(named: Named): void {
    const namespace = named.namespace || 'default';
    let place = this.#places.get(namespace);
    if (place === undefined) {
      place = newPlace(namespace);
      this.#places.set(namespace, place);
    }
    const { workload, serviceAccount } = named;
    if (serviceAccount !== undefined) addTo(place.accounts, serviceAccount, workload);
    if (workload !== undefined) addTo(place.workloads, workload, serviceAccount);
  }

  #sharedAccounts(): SharedAccount[] {
    const shared: SharedAccount[] = [];
    for (const [namespace, { accounts }] of this.#places) {
      for (const [serviceAccount, users] of accounts) {
        if (users.size > 1) shared.push({ namespace, serviceAccount, workloads: [...users].sort() });
      }
    }
    return shared.sort(
      (a, b) => order(a.namespace, b.namespace) || order(a.serviceAccount, b.serviceAccount),
    );
  }

  #id(place: Place, name: string): SpiffeId {
    const segment = place.segments.get(name) ?? segmentOf(name);
    return parseSpiffeId(`spiffe://${this.#trustDomain}/ns/${place.segment}/sa/${segment}`);
  }
}

/** What gives one workload of a shared account an account of its own. */
export interface OwnAccount {
  readonly namespace: string;
  readonly workload: string;
  /** The new account's name: the last segment of the identity that the workload has here already. */
  readonly name: string;
  /** The ServiceAccount document. */
  readonly account: Readonly<Record<string, unknown>>;
  /** Strategic merge patch of the workload; absent where its kind is not known or cannot be changed in place. */
  readonly patch?: Readonly<Record<string, unknown>>;
}

/**
 * The documents that end the sharing, to be applied accounts first. A new account has none of the roles, image
 * pull secrets and cloud bindings of the old one: who applies them checks that first. `identities` are those of
 * the whole estate; without them the directory's workloads are taken for it.
 */
export function serviceAccountManifests(
  shared: readonly SharedAccount[],
  directory: Directory,
  identities: Identities = identitiesOf(shared, directory),
): OwnAccount[] {
  return shared.flatMap(({ namespace, serviceAccount, workloads }) =>
    workloads.map((workload) => {
      const { id } = identities.idOf({ namespace, workload, serviceAccount });
      const name = kubernetesNameOf(id)?.serviceAccount ?? workload;
      const fact = directory.workload(namespace, workload);
      const patch = fact === undefined ? undefined : patchOf(fact.kind, namespace, workload, name);
      return {
        namespace,
        workload,
        name,
        account: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } },
        ...(patch === undefined ? {} : { patch }),
      };
    }),
  );
}

/** API versions of the kinds whose pod template can be changed; a Job's and a Pod's cannot. */
const PATCHABLE: Partial<Record<WorkloadKind, string>> = {
  Deployment: 'apps/v1',
  StatefulSet: 'apps/v1',
  DaemonSet: 'apps/v1',
  ReplicaSet: 'apps/v1',
  ReplicationController: 'v1',
  CronJob: 'batch/v1',
};

function patchOf(
  kind: WorkloadKind,
  namespace: string,
  workload: string,
  serviceAccountName: string,
): Readonly<Record<string, unknown>> | undefined {
  const apiVersion = PATCHABLE[kind];
  if (apiVersion === undefined) return undefined;
  const template = { template: { spec: { serviceAccountName } } };
  return {
    apiVersion,
    kind,
    metadata: { name: workload, namespace },
    spec: kind === 'CronJob' ? { jobTemplate: { spec: template } } : template,
  };
}

function identitiesOf(shared: readonly SharedAccount[], directory: Directory): Identities {
  const all: Named[] = [...directory.workloads()].map(({ namespace, name, serviceAccount }) => ({
    namespace,
    workload: name,
    serviceAccount,
  }));
  for (const { namespace, serviceAccount, workloads } of shared) {
    for (const workload of workloads) all.push({ namespace, workload, serviceAccount });
  }
  // The trust domain does not show in the documents.
  return new Identities('cluster.local', all);
}

function newPlace(namespace: string): Place {
  return { segment: segmentOf(namespace), accounts: new Map(), workloads: new Map(), segments: new Map() };
}

function addTo(map: Map<string, Set<string>>, key: string, value: string | undefined): void {
  let values = map.get(key);
  if (values === undefined) {
    values = new Set();
    map.set(key, values);
  }
  if (value !== undefined) values.add(value);
}

function soleAccount(place: Place, workload: string | undefined): string | undefined {
  const accounts = workload === undefined ? undefined : place.workloads.get(workload);
  return accounts?.size === 1 ? [...accounts][0] : undefined;
}

function isShared(place: Place, serviceAccount: string, workload: string | undefined): boolean {
  const users = place.accounts.get(serviceAccount);
  if (users === undefined || users.size === 0) return false;
  return users.size > 1 || (workload !== undefined && !users.has(workload));
}

/** The name of the account that a workload should have: its own, unless that is taken by someone else's account. */
function ownName(place: Place, workload: string): string {
  if (!usedByOthers(place, workload, workload)) return workload;
  let name = `${workload}-workload`;
  for (let salt = 0; isTaken(place, name, workload); salt++) {
    name = `${workload}-workload-${shortHash(`${salt} ${workload}`)}`;
  }
  return name;
}

function usedByOthers(place: Place, serviceAccount: string, workload: string): boolean {
  const users = place.accounts.get(serviceAccount);
  return users !== undefined && [...users].some((user) => user !== workload);
}

function isTaken(place: Place, name: string, workload: string): boolean {
  if (place.workloads.has(name)) return true;
  const users = place.accounts.get(name);
  return users !== undefined && !(users.size === 1 && users.has(workload));
}

/** Segments for all names that cannot be one themselves, different from each other and from all the rest. */
function segmentsFor(names: Iterable<string>): Map<string, string> {
  const all = [...names].sort();
  const taken = new Set(all.filter(isSegment));
  const segments = new Map<string, string>();
  for (const name of all) {
    if (isSegment(name)) continue;
    let segment = segmentOf(name);
    for (let salt = 1; taken.has(segment); salt++) segment = segmentOf(name, salt);
    taken.add(segment);
    segments.set(name, segment);
  }
  return segments;
}

/** SPIFFE-ID.md section 2.2: letters, digits, ".", "-" and "_", and neither "." nor "..". */
function isSegment(name: string): boolean {
  return name.length <= MAX_NAME && /^[A-Za-z0-9._-]+$/.test(name) && name !== '.' && name !== '..';
}

function segmentOf(name: string, salt = 0): string {
  if (isSegment(name)) return name;
  const kept = name.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, KEPT_OF_A_NAME);
  return `${kept}-${shortHash(salt === 0 ? name : `${salt} ${name}`)}`;
}

/** FNV-1a over UTF-16 code units, 32 bits in hex: short and the same everywhere. It keeps no secret. */
function shortHash(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}
