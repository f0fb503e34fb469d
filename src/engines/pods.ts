import { kubernetesNameOf, type SpiffeId, trustDomainOf, type Workload } from '../access/index.ts';
import type { RenderOptions } from './engine.ts';

/** How the pods of a workload are selected. */
export interface Pods {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The labels are not known: `app: NAME` was taken. */
  readonly assumed: boolean;
  /** Pods on the node's own network have the node's address: no selector finds them. */
  readonly hostNetwork: boolean;
  /** The service account that this workload alone runs under, as its ID or the inventory says. */
  readonly account?: string;
}

/**
 * Labels that change with a version or belong to one pod: a selector with one of them would stop to match at the
 * next rollout, and the pods would stand unprotected.
 */
const PASSING = new Set([
  'app.kubernetes.io/version',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-completion-index',
  'batch.kubernetes.io/job-name',
  'apps.kubernetes.io/pod-index',
  'chart',
  'controller-revision-hash',
  'controller-uid',
  'helm.sh/chart',
  'job-name',
  'pod-template-generation',
  'pod-template-hash',
  'statefulset.kubernetes.io/pod-name',
  'version',
]);

/**
 * The pods of a workload, or undefined where neither its ID nor the state says in which namespace they run.
 * `home` is the trust domain of the cluster: an ID of another one names no pod here.
 */
export function podsOf(id: SpiffeId, options: RenderOptions, home: string): Pods | undefined {
  const known = options.workload(id);
  const named = trustDomainOf(id) === home ? kubernetesNameOf(id) : undefined;
  // A workload known by its ID alone has no namespace of its own on record.
  const onRecord = known !== undefined && (known.inventoried || known.identifiedBy !== 'spiffe');
  const namespace = onRecord ? known.namespace : named?.namespace;
  if (namespace === undefined) return undefined;
  const labels = known === undefined ? {} : lastingLabels(known.labels);
  const assumed = Object.keys(labels).length === 0;
  const name = onRecord ? known.name : named?.serviceAccount;
  if (assumed && name === undefined) return undefined;
  const account = ownAccount(id, known);
  return {
    namespace,
    labels: assumed ? { app: name as string } : labels,
    assumed,
    hostNetwork: known?.hostNetwork ?? false,
    ...(account === undefined ? {} : { account }),
  };
}

/** The labels to select by; all of them where only passing ones are there. */
function lastingLabels(labels: Workload['labels']): Readonly<Record<string, string>> {
  const entries = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const lasting = entries.filter(([key]) => !PASSING.has(key));
  return Object.fromEntries(lasting.length > 0 ? lasting : entries);
}

function ownAccount(id: SpiffeId, known: Workload | undefined): string | undefined {
  const named = kubernetesNameOf(id)?.serviceAccount;
  // An ID that rests on the workload's name stands for the account that it should get, not the one it has.
  if (known?.identifiedBy === 'workload-name') return undefined;
  return known?.serviceAccount === undefined || known.serviceAccount === named ? named : undefined;
}

/** Whether a pod with `labels` is selected by `selector`. */
export function selects(
  selector: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(
    ([key, value]) => Object.hasOwn(labels, key) && labels[key] === value,
  );
}
