import { type SpiffeId, trustDomainOf, type Workload } from '../access/index.ts';
import { callerContains } from '../policy/index.ts';
import type { RenderOptions } from './engine.ts';
import type { Grant, ProtectedGrants } from './grants.ts';
import type { Losses } from './losses.ts';
import { podsOf, selects } from './pods.ts';

/** Finds the workloads that a selector of labels catches beside the one that it is for. */
export class SharedLabels {
  readonly #options: RenderOptions;
  readonly #known: readonly Workload[];
  readonly #protected: ReadonlySet<SpiffeId>;

  /** Without the state's workloads, those that the policies name are looked at. */
  constructor(all: readonly ProtectedGrants[], options: RenderOptions) {
    this.#options = options;
    this.#protected = new Set(all.map(({ id }) => id));
    this.#known = (options.workloads ?? named(all, options)).filter(({ hostNetwork }) => !hostNetwork);
  }

  /** Tells what else the document that protects a workload takes hold of. */
  tellProtected({ id, policies }: ProtectedGrants, losses: Losses): void {
    for (const other of this.#caughtWith(id, trustDomainOf(id))) {
      for (const { metadata } of policies) {
        if (this.#protected.has(other)) {
          const what = `${other} has the labels that select ${id}: the callers of the one may reach the other as well.`;
          losses.add('wider', 'shared-labels', { policy: metadata.name }, what);
        } else {
          const what = `${other} has the labels that select ${id}: what the policy does not allow is denied to it as well.`;
          losses.add('narrower', 'shared-labels', { policy: metadata.name }, what);
        }
      }
    }
  }

  /** Tells who else is let in by the labels of the callers of allow rules. `byLabels` says of whom that is true. */
  tellCallers({ id, allow }: ProtectedGrants, losses: Losses, byLabels: (caller: SpiffeId) => boolean): void {
    for (const grant of allow) {
      if (grant.caller.kind !== 'exact' || grant.conditional) continue;
      // A caller that was read from a checked document is a checked ID.
      const caller = grant.caller.id as SpiffeId;
      if (!byLabels(caller)) continue;
      for (const other of this.#caughtWith(caller, trustDomainOf(id))) {
        if (allowed(other, grant, allow)) continue;
        const what = `${other} has the labels that select ${caller}: it is let in like it.`;
        losses.add('wider', 'shared-labels', grant, what);
      }
    }
  }

  #caughtWith(id: SpiffeId, home: string): SpiffeId[] {
    const pods = podsOf(id, this.#options, home);
    if (pods === undefined || pods.hostNetwork) return [];
    return this.#known
      .filter((other) => other.id !== id && other.namespace === pods.namespace)
      .filter(({ labels }) => selects(pods.labels, labels))
      .map((other) => other.id);
  }
}

/** Whether the rule that lets one caller in lets the other in as well. */
function allowed(other: SpiffeId, { policy, rule }: Grant, allow: readonly Grant[]): boolean {
  const caller = { kind: 'exact', id: other } as const;
  return allow.some((g) => g.policy === policy && g.rule === rule && callerContains(g.caller, caller));
}

function named(all: readonly ProtectedGrants[], options: RenderOptions): Workload[] {
  const ids = new Set<SpiffeId>();
  for (const { id, allow, deny } of all) {
    ids.add(id);
    for (const { caller } of [...allow, ...deny]) {
      // A caller that was read from a checked document is a checked ID.
      if (caller.kind === 'exact') ids.add(caller.id as SpiffeId);
    }
  }
  return [...ids].flatMap((id) => options.workload(id) ?? []);
}
