import type { WorkloadKind } from './facts.ts';
import type { Known } from './workload-index.ts';

/** Letters and digits that Kubernetes makes suffixes of: no vowels, no 0, 1, 3 (apimachinery, rand.SafeEncodeString). */
const SAFE = '[bcdf-hj-np-tv-xz2456789]';
const GENERATED = new RegExp(`^(.+)-${SAFE}{5}$`);
const OF_A_DEPLOYMENT = new RegExp(`^(.+)-${SAFE}{6,10}-${SAFE}{5}$`);

/** How the controllers of each kind name their pods; a bare Pod's name is its workload's. */
const PATTERNS: Readonly<Record<WorkloadKind, RegExp>> = {
  Deployment: OF_A_DEPLOYMENT,
  StatefulSet: /^(.+)-\d+$/,
  DaemonSet: GENERATED,
  ReplicaSet: GENERATED,
  ReplicationController: GENERATED,
  Job: GENERATED,
  CronJob: new RegExp(`^(.+)-\\d{8}-${SAFE}{5}$`),
  Pod: /^(.+)$/,
};

/**
 * The workloads that may own a pod which no inventory has, judged by its name: the known ones whose kind names
 * its pods like this, else the Deployment whose form of name it has beyond doubt.
 */
export function ownersByName(pod: string, known: (name: string) => Known | undefined): string[] {
  const owners = new Set<string>();
  for (const [kind, pattern] of Object.entries(PATTERNS)) {
    const name = pattern.exec(pod)?.[1];
    const workload = name === undefined ? undefined : known(name);
    const kinds = [...(workload?.facts ?? []), ...(workload?.pods ?? [])].map((fact) =>
      fact.fact === 'pod' ? fact.workloadKind : fact.kind,
    );
    if (name !== undefined && kinds.some((k) => k === kind)) owners.add(name);
  }
  if (owners.size > 0) return [...owners];
  const deployment = OF_A_DEPLOYMENT.exec(pod)?.[1];
  return deployment === undefined ? [] : [deployment];
}
