import type { Directory, Resolved } from '../inventory/directory.ts';
import type { Workload } from './graph.ts';
import type { Identities } from '../inventory/identify.ts';
import type { WorkloadFact } from '../inventory/facts.ts';
import { byName } from '../order.ts';
import type { Principal } from '../principal.ts';
import { kubernetesNameOf, type SpiffeId, shortNameOf } from '../spiffe-id.ts';
import type { RecordedAccess } from '../tally-access.ts';

/** Every workload that has an identity, with what the inventory and the recordings say of it. */
export class WorkloadBook {
  readonly #identities: Identities;
  readonly #known = new Map<SpiffeId, Workload>();
  readonly #principals = new Map<SpiffeId, Principal>();
  /** All of them in order, until something is new. What was given out is never changed. */
  #workloads: ReadonlyMap<SpiffeId, Workload> | undefined;

  constructor(directory: Directory, identities: Identities) {
    this.#identities = identities;
    for (const fact of directory.workloads()) {
      const { id, identifiedBy } = identities.idOf({ ...fact, workload: fact.name });
      this.#inventory(id, identifiedBy, fact, directory.deployedAt(fact.namespace, fact.name));
    }
  }

  get(id: SpiffeId): Workload | undefined {
    return this.#known.get(id);
  }

  /** The principal of a SPIFFE ID that stood in the data. */
  bySpiffeId(id: SpiffeId): Principal {
    const known = this.#known.get(id);
    if (known === undefined) {
      const name = kubernetesNameOf(id);
      const place = { namespace: name?.namespace ?? 'default', name: shortNameOf(id) };
      this.#put({ ...blank(id), ...place, identifiedBy: 'spiffe' });
    } else if (known.identifiedBy !== 'spiffe') this.#put({ ...known, identifiedBy: 'spiffe' });
    return this.#principal(id);
  }

  /** The principal of a workload or service account by name. */
  byName(named: Extract<Resolved, { kind: 'workload' }>): Principal {
    const { id, identifiedBy } = this.#identities.idOf(named);
    if (!this.#known.has(id)) {
      const name = named.workload ?? named.serviceAccount ?? shortNameOf(id);
      const account = named.serviceAccount === undefined ? {} : { serviceAccount: named.serviceAccount };
      this.#put({ ...blank(id), namespace: named.namespace, name, identifiedBy, ...account });
    }
    return this.#principal(id);
  }

  /** One object for all accesses of a workload: there may be a hundred thousand. */
  #principal(id: SpiffeId): Principal {
    let principal = this.#principals.get(id);
    if (principal === undefined) {
      principal = { kind: 'workload', id };
      this.#principals.set(id, principal);
    }
    return principal;
  }

  /** Notes which ends wrote the record themselves: an end that never does is not instrumented. */
  recordedBy({ side, evidence }: RecordedAccess, from: Principal, to: Principal): void {
    // A trace's call is a pair of spans: both ends wrote one.
    const both = evidence.sources.has('otlp');
    for (const [end, wrote] of [
      [from, both || side === 'caller'],
      [to, both || side === 'callee'],
    ] as const) {
      const known = wrote && end.kind === 'workload' ? this.#known.get(end.id) : undefined;
      if (known?.recorded === false) this.#put({ ...known, recorded: true });
    }
  }

  workloads(): ReadonlyMap<SpiffeId, Workload> {
    return (this.#workloads ??= new Map([...this.#known].toSorted(byName)));
  }

  #put(workload: Workload): void {
    this.#known.set(workload.id, workload);
    this.#workloads = undefined;
  }

  #inventory(
    id: SpiffeId,
    identifiedBy: Workload['identifiedBy'],
    fact: WorkloadFact,
    deployedAt: number | undefined,
  ): void {
    const { kind, namespace, name, serviceAccount, labels, ports, hostNetwork, marks } = fact;
    this.#put({
      ...blank(id),
      kind,
      namespace,
      name,
      serviceAccount,
      labels,
      ports,
      hostNetwork,
      marks,
      identifiedBy,
      ...(fact.schedule === undefined ? {} : { schedule: fact.schedule }),
      ...(fact.timeZone === undefined ? {} : { timeZone: fact.timeZone }),
      ...(deployedAt === undefined ? {} : { deployedAt }),
      inventoried: true,
    });
  }
}

function blank(id: SpiffeId): Workload {
  return {
    id,
    namespace: 'default',
    name: shortNameOf(id),
    identifiedBy: 'spiffe',
    labels: {},
    ports: [],
    hostNetwork: false,
    marks: {},
    inventoried: false,
    recorded: false,
  };
}
