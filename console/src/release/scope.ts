import type { Received } from '../../../src/api/index.ts';
import { counted, type Scope } from '../parts/words.ts';

export type Kind = Scope['kind'];
type Rollout = Pick<
  Received<'rollouts.list'>['rollouts'][number],
  'workload' | 'stage' | 'target' | 'enforced'
>;
type Point = Pick<Received<'points.list'>['points'][number], 'workloads' | 'cluster' | 'connected'>;

/** The scope of a kind and a name; undefined where the name is still missing. */
export function scopeOf(kind: Kind, name: string): Scope | undefined {
  const text = name.trim();
  if (kind === 'all') return { kind };
  if (text === '') return undefined;
  switch (kind) {
    case 'cluster':
      return { kind, cluster: text };
    case 'namespace':
      return { kind, namespace: text };
    case 'workload':
      return { kind, workload: text };
    case 'policy':
      return { kind, policy: text };
  }
}

function namespaceOf(workload: string): string | undefined {
  return /\/ns\/([^/]+)\/sa\/[^/]+$/.exec(workload)?.[1];
}

/** Whether a scope covers a rollout, as src/rollout/release.ts has it; a cluster is a matter of the proxy alone. */
function covers(scope: Scope, { workload, target, enforced = [] }: Rollout): boolean {
  switch (scope.kind) {
    case 'namespace':
      return namespaceOf(workload) === scope.namespace;
    case 'workload':
      return workload === scope.workload;
    case 'policy':
      return [...target, ...enforced].includes(scope.policy);
    default:
      return true;
  }
}

/** What a release would take away. A set is in force in a canary, once enforced, and where an older one still stands. */
export function effectText(scope: Scope, rollouts: readonly Rollout[], points: readonly Point[]): string {
  const inForce = rollouts.filter(
    (each) =>
      covers(scope, each) &&
      (each.stage === 'canary' || each.stage === 'enforced' || each.enforced !== undefined),
  );
  const named = new Set<string>(inForce.map(({ workload }) => workload));
  const own = points.filter(
    ({ workloads, cluster }) =>
      workloads.some((each) => named.has(each)) && (scope.kind !== 'cluster' || cluster === scope.cluster),
  );
  if (inForce.length === 0 || own.length === 0)
    return 'Nothing is enforced there now: it would only keep what is promoted meanwhile from denying.';
  const away = own.filter(({ connected }) => !connected).length;
  const late = away === 0 ? '' : `; ${away} of them away, which get it when they come back`;
  return `While it lasts, nothing is denied any more at ${counted(inForce.length, 'workload')}, on ${counted(own.length, 'proxy', 'proxies')}${late}. Mutual authentication stays, and policies go on in shadow.`;
}
