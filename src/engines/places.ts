import { type SpiffeId, trustDomainOf } from '../access/index.ts';
import type { RenderOptions } from './engine.ts';
import type { ProtectedGrants } from './grants.ts';
import type { Losses } from './losses.ts';
import { objectName, workloadNames } from './names.ts';
import { type Pods, podsOf } from './pods.ts';

/** A protected workload whose pods can be selected, with the names of its documents. */
export interface Place {
  readonly workload: ProtectedGrants;
  readonly pods: Pods;
  /** Object name, unique in the namespace. */
  readonly name: string;
  /** File name without its extension, unique in the rendering. */
  readonly file: string;
  /** Labels and annotations that every document of the workload carries. */
  readonly marks: { readonly labels: Record<string, string>; readonly annotations: Record<string, string> };
}

/**
 * Where the documents of each protected workload go. Of those whose pods no selector finds none is written, and
 * as nothing then restricts them that is told as `wider`. `selectsByLabels` says whether the engine needs labels.
 */
export function placesOf(
  all: readonly ProtectedGrants[],
  options: RenderOptions,
  losses: Losses,
  selectsByLabels: (pods: Pods) => boolean = () => true,
): Place[] {
  const found = all.flatMap((workload) => {
    const pods = podsOf(workload.id, options, trustDomainOf(workload.id));
    const reason = unselectable(workload.id, pods);
    if (reason !== undefined) tellAll(workload, losses, 'wider', reason.code, reason.what);
    return pods === undefined || reason !== undefined ? [] : [{ workload, pods }];
  });
  const names = workloadNames(
    found.map(({ workload, pods }) => ({ id: workload.id, namespace: pods.namespace })),
  );
  return found.map(({ workload, pods }) => {
    const name = names.get(workload.id) ?? objectName(workload.id);
    if (pods.assumed && selectsByLabels(pods)) {
      const what = `The labels of ${workload.id} are not known: its pods are selected by app: ${pods.labels['app'] ?? ''}; where they have no such label, nothing is enforced.`;
      tellAll(workload, losses, 'same', 'labels-assumed', what);
    }
    return { workload, pods, name, file: `${objectName(pods.namespace)}/${name}`, marks: marksOf(workload) };
  });
}

/** Tells a loss for every policy of the workload. */
export function tellAll(
  { policies }: ProtectedGrants,
  losses: Losses,
  effect: 'narrower' | 'wider' | 'same',
  code: string,
  what: string,
): void {
  for (const { metadata } of policies) losses.add(effect, code, { policy: metadata.name }, what);
}

function unselectable(id: SpiffeId, pods: Pods | undefined): { code: string; what: string } | undefined {
  if (pods === undefined) {
    const what = `Neither the ID nor the state says in which namespace ${id} runs: nothing is written for it, so nothing restricts who calls it.`;
    return { code: 'not-selectable', what };
  }
  if (!pods.hostNetwork) return undefined;
  const what = `${id} runs on its nodes' own network, where no selector finds it: nothing is written for it, so nothing restricts who calls it.`;
  return { code: 'host-network', what };
}

function marksOf({ id, policies }: ProtectedGrants): Place['marks'] {
  return {
    labels: { 'app.kubernetes.io/managed-by': 'interlock' },
    annotations: {
      'interlock.dev/protects': id,
      'interlock.dev/policies': policies.map(({ metadata }) => metadata.name).join(','),
    },
  };
}
