import type { PodFact, WorkloadFact } from '../../access/index.ts';
import type { Fields } from './fields.ts';
import { type KubernetesObject, readWorkload } from './objects.ts';
import { type OwnedPod, type OwningWorkload, readOwner } from './owners.ts';

/** A pod as read, before its owners are followed. */
export interface ReadPod {
  readonly owned: OwnedPod;
  /** What the pod shows of its workload, under the pod's own name. */
  readonly workload: WorkloadFact;
  /** Absent for a manifest: it ran nowhere yet. */
  readonly ran?: Pick<PodFact, 'uid' | 'ips' | 'start' | 'end'>;
  readonly labels: Readonly<Record<string, string>>;
}

/** Reads a pod: from a cluster, with its address and times, or from a manifest. Throws WrongField. */
export function readPod(object: KubernetesObject): ReadPod {
  const { metadata, fields, namespace, name } = object;
  const status = fields.in('status');
  const created = metadata.time('creationTimestamp');
  const labels = metadata.map('labels');
  const uid = metadata.text('uid');
  const start = status.time('startTime') ?? created;
  const end = endOf(metadata, status, start);
  const ran = {
    ...(uid === undefined ? {} : { uid }),
    ips: addressesOf(status),
    ...(start === undefined ? {} : { start }),
    ...(end === undefined ? {} : { end }),
  };
  return {
    owned: {
      namespace,
      name,
      owner: readOwner(metadata),
      templateHash: Object.hasOwn(labels, 'pod-template-hash') ? labels['pod-template-hash'] : undefined,
      created,
      node: fields.in('spec').text('nodeName'),
    },
    workload: readWorkload('Pod', object),
    labels,
    ...(ran.ips.length > 0 || start !== undefined || uid !== undefined ? { ran } : {}),
  };
}

/** The fact of a pod that ran, under the workload that its owners lead to. */
export function podFact(
  { owned, workload, ran, labels }: ReadPod,
  owner: OwningWorkload,
): PodFact | undefined {
  if (ran === undefined) return undefined;
  return {
    fact: 'pod',
    namespace: owned.namespace,
    name: owned.name,
    workload: owner.name,
    ...(owner.kind === undefined ? {} : { workloadKind: owner.kind }),
    serviceAccount: workload.serviceAccount,
    hostNetwork: workload.hostNetwork,
    ports: workload.ports,
    images: workload.images,
    labels,
    ...ran,
  };
}

function addressesOf(status: Fields): string[] {
  const ips = status.list('podIPs').flatMap((entry) => entry.text('ip') ?? []);
  const ip = status.text('podIP');
  if (ip !== undefined && ip !== '' && !ips.includes(ip)) ips.push(ip);
  return ips;
}

/** When the pod gave its address up: it is over, or its deletion was asked for (the time includes the grace). */
function endOf(metadata: Fields, status: Fields, start: number | undefined): number | undefined {
  const deleted = metadata.time('deletionTimestamp');
  const phase = status.text('phase');
  if (phase !== 'Succeeded' && phase !== 'Failed') return deleted;
  const finished = status
    .list('containerStatuses')
    .flatMap((container) => container.in('state').in('terminated').time('finishedAt') ?? []);
  if (finished.length > 0) return Math.max(...finished);
  // An evicted pod has no container states left: the last change of its conditions is the nearest there is.
  const changes = status
    .list('conditions')
    .flatMap((condition) => condition.time('lastTransitionTime') ?? []);
  return changes.length > 0 ? Math.max(...changes) : (deleted ?? start);
}
