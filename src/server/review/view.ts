import { type Access, type AccessGraph, principalText, type SpiffeId } from '../../access/index.ts';
import { propose } from '../../learning/index.ts';
import type { Tier } from '../../policy/index.ts';
import {
  type Change,
  changesOf,
  promotionTier,
  type Question,
  questionsOf,
  type Rejection,
  ruleKey,
  type TierGates,
  unusedRules,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import type { SeenFlip } from '../../store/index.ts';
import { tierOf } from '../estate/index.ts';
import type { ReviewDocument } from './document.ts';
import { shortDigest, targetHash } from './target-hash.ts';

/** Most changes of one workload that are shown: ordinary ones first. */
const MOST_CHANGES = 500;
const NO_TARGET: WorkloadRollout['target'] = [];

/** What waits for a decision about one workload, worked out now. */
export interface ReviewView {
  readonly workload: SpiffeId;
  readonly rollout: WorkloadRollout | undefined;
  readonly tier: Tier;
  /** Names the target set that the changes are changes of. */
  readonly target: string;
  readonly changes: readonly Change[];
  readonly questions: readonly Question[];
  /** There are more changes than are shown. */
  readonly isCut: boolean;
}

export interface ViewInput {
  readonly workload: SpiffeId;
  readonly graph: AccessGraph;
  readonly index: AccessIndex;
  readonly rollout: WorkloadRollout | undefined;
  readonly review: ReviewDocument;
  readonly gates: Readonly<Record<Tier, TierGates>>;
  readonly flips: readonly SeenFlip[];
  /** Hours that are recorded; undefined where no rule is old enough to be unused. */
  readonly covered: ReadonlySet<number> | undefined;
  readonly now: number;
}

/** The accesses of a graph by who is called, and by who calls. */
export interface AccessIndex {
  readonly byCallee: ReadonlyMap<string, readonly Access[]>;
  readonly byCaller: ReadonlyMap<string, readonly Access[]>;
}

export function accessIndex({ accesses }: AccessGraph): AccessIndex {
  return {
    byCallee: Map.groupBy(accesses, ({ to }) => principalText(to)),
    byCaller: Map.groupBy(accesses, ({ from }) => principalText(from)),
  };
}

/** Works out what is proposed for one workload, from its own accesses and those of its callers alone. */
export function viewOf(input: ViewInput): ReviewView {
  const { workload, graph, index, rollout, review, gates, flips, covered, now } = input;
  const target = rollout?.target ?? NO_TARGET;
  const tier = promotionTier(rollout, tierOf(graph.workloads.get(workload)));
  const accesses = index.byCallee.get(workload) ?? [];
  // Others' calls of its callers tell how many instances they have; the rest of the estate says nothing here.
  const callers = new Set(accesses.map(({ from }) => principalText(from)));
  const near = new Set([...accesses, ...[...callers].flatMap((caller) => index.byCaller.get(caller) ?? [])]);
  const rejected = new Map<string, Rejection>(review.rejected.map((each) => [each.key, each]));
  const proposed = propose({ ...graph, accesses: [...near] }, { to: workload, tierOf: () => tier });
  const digest = shortDigest;
  const proposes = changesOf({ workload, target, now, proposed, accesses, rejected, digest });
  const tightens =
    covered === undefined
      ? []
      : unusedRules({
          workload,
          target,
          accesses,
          since: new Map(review.since),
          days: gates[tier].unusedDays,
          covered,
          now,
          rejected,
          digest,
        });
  const changes = [...proposes, ...tightens];
  return {
    workload,
    rollout,
    tier,
    target: targetHash(target),
    changes: changes.slice(0, MOST_CHANGES),
    questions:
      rollout?.stage === 'draft' ? [] : questionsOf({ workload, flips, changes: proposes, rejected, digest }),
    isCut: changes.length > MOST_CHANGES,
  };
}

/** Since when each rule of the target is there: what is known already stays, what is new is from now on. */
export function rulesSince(
  { since }: ReviewDocument,
  rollout: WorkloadRollout | undefined,
  now: number,
): readonly (readonly [string, number])[] {
  const known = new Map(since);
  const keys = (rollout?.target ?? []).flatMap(({ metadata, spec }) =>
    spec.rules.map((rule) => ruleKey(metadata.name, rule)),
  );
  return keys.map((key) => [key, known.get(key) ?? now] as const);
}
