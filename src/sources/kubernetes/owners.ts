import { WORKLOAD_KINDS, type WorkloadKind } from '../../access/index.ts';
import type { Fields } from './fields.ts';

/** The controller that an object's metadata names as its owner. */
export interface Owner {
  readonly kind: string;
  readonly name: string;
}

/** The workload that a pod belongs to; `kind` is absent where the owner is of a kind that we do not know. */
export interface OwningWorkload {
  readonly name: string;
  readonly kind?: WorkloadKind;
}

/** What of a pod's metadata leads to its workload. */
export interface OwnedPod {
  readonly namespace: string;
  readonly name: string;
  readonly owner: Owner | undefined;
  /** Value of the label pod-template-hash, which a Deployment puts on its pods and in its ReplicaSets' names. */
  readonly templateHash: string | undefined;
  /** Milliseconds since 1970 UTC. */
  readonly created: number | undefined;
  readonly node: string | undefined;
}

/** A scheduled Job's time lies this close before its pods are made; later starts are followed as plain Jobs. */
const MAX_CRON_DELAY_MS = 24 * 3_600_000;

/** Reads the controlling owner of an object's metadata. */
export function readOwner(metadata: Fields): Owner | undefined {
  const references = metadata.list('ownerReferences');
  const reference = references.find((r) => r.flag('controller')) ?? references[0];
  return reference === undefined ? undefined : { kind: reference.name('kind'), name: reference.name('name') };
}

/** ReplicaSets and Jobs of one inventory, with who owns them. */
export class Owners {
  readonly #owners = new Map<string, Owner | undefined>();

  add(namespace: string, object: Owner, owner: Owner | undefined): void {
    this.#owners.set(key(namespace, object), owner);
  }

  /** The workload at the end of the chain of owners. A link that is missing is read from Kubernetes' own naming. */
  workloadOf(pod: OwnedPod): OwningWorkload {
    const { namespace, owner } = pod;
    if (owner === undefined) return { name: pod.name, kind: 'Pod' };
    if (owner.kind === 'Node') return { name: staticName(pod), kind: 'Pod' };
    const above = this.#owners.has(key(namespace, owner))
      ? this.#owners.get(key(namespace, owner))
      : unseenOwner(pod, owner);
    return asWorkload(above ?? owner);
  }
}

function unseenOwner(pod: OwnedPod, owner: Owner): Owner | undefined {
  if (owner.kind === 'ReplicaSet' && pod.templateHash !== undefined) {
    const suffix = `-${pod.templateHash}`;
    const isDeployments = owner.name.length > suffix.length && owner.name.endsWith(suffix);
    return isDeployments ? { kind: 'Deployment', name: owner.name.slice(0, -suffix.length) } : undefined;
  }
  if (owner.kind === 'Job') {
    // The CronJob controller names its Jobs NAME-MINUTES, the scheduled time in minutes since 1970.
    const [, name, minutes] = /^(.+)-(\d{8})$/.exec(owner.name) ?? [];
    const delay = (pod.created ?? Number.NaN) - Number(minutes) * 60_000;
    if (name !== undefined && delay >= -60_000 && delay <= MAX_CRON_DELAY_MS)
      return { kind: 'CronJob', name };
  }
  return undefined;
}

/** The mirror pod of a static one is named NAME-NODE. */
function staticName({ name, node }: OwnedPod): string {
  return node !== undefined && name.length > node.length + 1 && name.endsWith(`-${node}`)
    ? name.slice(0, -node.length - 1)
    : name;
}

function asWorkload({ kind, name }: Owner): OwningWorkload {
  const known = WORKLOAD_KINDS.find((k) => k === kind);
  return known === undefined ? { name } : { name, kind: known };
}

const key = (namespace: string, { kind, name }: Owner) => `${namespace}/${kind}/${name}`;
