import { kubernetesNameOf, type SpiffeId } from '../../access/index.ts';
import type { Tier } from '../../policy/index.ts';
import type { ChannelConfig } from './config.ts';
import type { Notice } from './notice.ts';

/** What a filter asks of a workload. */
export interface Known {
  readonly tierOf: (workload: SpiffeId) => Tier;
  readonly ownersOf: (workload: SpiffeId) => readonly string[];
}

/** Whether a channel is told. What concerns no workload or namespace in particular concerns everybody. */
export function concerns(
  { on, only }: Pick<ChannelConfig, 'on' | 'only'>,
  notice: Notice,
  known: Known,
): boolean {
  if (!on.has(notice.type)) return false;
  const { scope } = notice;
  const { namespaces, tiers, owners } = only;
  if (scope.kind === 'all') return true;
  // Of a namespace there is no one tier or owner: those who have one in it are told.
  if (scope.kind === 'namespace') return namespaces === undefined || namespaces.includes(scope.namespace);
  const { workload } = scope;
  if (namespaces !== undefined && !namespaces.includes(kubernetesNameOf(workload)?.namespace ?? ''))
    return false;
  if (tiers !== undefined && !tiers.includes(known.tierOf(workload))) return false;
  return owners === undefined || known.ownersOf(workload).some((owner) => owners.includes(owner));
}
