import { type AccessGraph, actionText, principalText, type SpiffeId } from '../../access/index.ts';
import { accessUnits, propose, type Readiness, readiness } from '../../learning/index.ts';
import { changesOf, endingAccesses, type WorkloadRollout } from '../../rollout/index.ts';
import { type Reviews, shortDigest } from '../review/index.ts';

/** The first week, that readiness is judged for; milliseconds. */
const WEEK_MS = 7 * 86_400_000;

type Doubts = ReturnType<typeof propose>['doubts'];

/**
 * What is known of a workload for its promotion, with what people have decided of it: doubts, and blind spots that were
 * acknowledged. Undefined where nothing names it.
 */
export function evidenceOf(
  graph: AccessGraph,
  workload: SpiffeId,
  { reviews, rollout, now }: { reviews: Reviews; rollout: WorkloadRollout | undefined; now: number },
): Readiness | undefined {
  if (!graph.workloads.has(workload)) return undefined;
  const proposed = propose(graph, { to: workload });
  const { doubts } = proposed;
  const acknowledged = reviews.acknowledged(workload);
  const accesses = graph.accesses.filter(({ to }) => to.kind === 'workload' && to.id === workload);
  const open = openDoubts(
    changesOf({
      workload,
      target: rollout?.target ?? [],
      proposed,
      accesses,
      now,
      rejected: reviews.rejected(workload),
      digest: shortDigest,
    }),
  );
  const decided = reviews.decidedDoubts(workload);
  const byTarget = reviews.decidedByTarget(workload);
  const decidedBy = ({ id, rule }: Doubts[number]) => {
    // Nobody can make a rule of it: that it is known is all that can be said.
    if (rule === undefined) return acknowledged.get(id);
    // It was decided once, and asks again: on materially more evidence, or because the target says something else now.
    if (open.has(id)) return undefined;
    // What the target allows or denies on purpose nobody is asked any more: whoever approves the target has decided it, an owner
    // also what somebody else had decided before the workload was as critical.
    return byTarget === 'owner' ? 'owner' : (decided.get(id) ?? byTarget);
  };
  return readiness(graph, workload, {
    // The coming week is the one after what was recorded.
    now: Number.isFinite(graph.coverage.lastSeen) ? graph.coverage.lastSeen : now,
    units: accessUnits(graph, workload),
    doubts: doubts.map((doubt) => {
      const by = decidedBy(doubt);
      return { id: doubt.id, reasons: doubt.reasons, ...(by === undefined ? {} : { decidedBy: by }) };
    }),
    acknowledged: acknowledged.keys(),
    // By the clock, whenever the recordings end: that is what the exceptions end by.
    ending: endingAccesses(accesses, rollout?.target ?? [], now, WEEK_MS).map(
      ({ from, action, policy, rule, until, count }) => ({
        from: principalText(from),
        action: actionText(action),
        policy,
        rule,
        until,
        count,
      }),
    ),
  });
}

function openDoubts(changes: ReturnType<typeof changesOf>): ReadonlySet<string> {
  return new Set(changes.flatMap(({ doubt }) => (doubt === undefined ? [] : [doubt.id])));
}
