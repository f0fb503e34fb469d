import { actionText, principalText, type SpiffeId } from '../../access/index.ts';
import { CONTROL_PLANE_CLUSTER, envoyResources } from '../../engines/envoy/resources/index.ts';
import type { Tier } from '../../policy/index.ts';
import { type PreflightFacts, type Rejection, undecidedFlips } from '../../rollout/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Timers } from '../timers.ts';
import type { Enforcing } from './enforcing.ts';

const DAY_MS = 86_400_000;

/** Live SVIDs of a workload, and of those the ones past three quarters of their life. */
export type SvidCount = PreflightFacts['svids'];

/** Asks the store for the live SVIDs of a workload. Throws what it throws, and `unavailable`. */
export async function svidsOf(plane: ControlPlane, timers: Timers, workload: SpiffeId): Promise<SvidCount> {
  const now = timers.now();
  const filter = { spiffeId: workload, kind: 'workload', liveAt: now } as const;
  const live = await plane.recorder.within(plane.store.issued(filter));
  const isStale = ({ issuedAt, notAfter }: (typeof live)[number]) =>
    now > issuedAt + (notAfter - issuedAt) * 0.75;
  return { live: live.length, stale: live.filter(isStale).length };
}

export interface FactsOptions {
  readonly svids: SvidCount;
  /** The tier by whose gates it is judged. */
  readonly tier: Tier;
  /** Accesses that somebody has said no to: that they are denied is what was meant. */
  readonly rejected: ReadonlyMap<string, Rejection>;
}

/** When the last drill was that every proxy confirmed. */
export function lastDrillOf({ releases }: Enforcing): number | undefined {
  return releases.drills.findLast((drill) => drill.points > 0 && drill.confirmed === drill.points)?.at;
}

/** What the control plane knows of a workload now, before a promotion: all but its evidence. It does not wait. */
export function preflightFacts(
  enforcing: Enforcing,
  plane: ControlPlane,
  timers: Timers,
  workload: SpiffeId,
  { svids, tier, rejected }: FactsOptions,
): Omit<PreflightFacts, 'readiness'> & { readonly lastFlip?: number } {
  const { rollouts, points, evidence } = enforcing;
  const now = timers.now();
  const rollout = rollouts.all.get(workload);
  const lastDrill = lastDrillOf(enforcing);
  const flips = undecidedFlips(evidence.flips({ to: workload }), workload, rejected);
  const lastFlip = flips.reduce((last, { lastSeen }) => Math.max(last, lastSeen), Number.NEGATIVE_INFINITY);
  return {
    now,
    tier,
    policies: rollout?.target.length ?? 0,
    svids,
    agentsBehind: plane.confirmations().behind,
    proxies: points
      .of(workload)
      // As the check says: who stays away is forgotten after a day.
      .filter(({ connected, since }) => connected || now - since < DAY_MS)
      .map(({ key, connected, applied, wanted, clockOffset, fault }) => ({
        key,
        connected,
        isUpToDate: applied >= wanted,
        ...(clockOffset === undefined ? {} : { clockOffset }),
        ...(fault === undefined ? {} : { fault: fault.message }),
      })),
    // Where mutual TLS alone is taken they are refused already: a promotion takes nothing from them, and nobody holds one
    // up by knocking in plain text.
    plaintextCallers:
      rollout?.authentication === 'strict'
        ? []
        : evidence
            .plaintextCallers(workload, now - DAY_MS)
            .map(({ from, workload: behind, connections, lastSeen }) => ({
              from: behind === undefined ? from : `${behind} at ${from}`,
              connections,
              lastSeen,
            })),
    wouldDeny: flips.map(({ from, action, count }) => ({
      what: `${principalText(from)} ${actionText(action)}`,
      count,
    })),
    widerLosses: widerAtEnvoys(enforcing, plane, workload),
    ...(lastDrill === undefined ? {} : { lastDrill }),
    ...(Number.isFinite(lastFlip) ? { lastFlip } : {}),
  };
}

/** What Envoy would allow beyond what the target says, where one serves the workload. Our own proxy says all of it. */
function widerAtEnvoys(
  { rollouts, points, documents }: Enforcing,
  plane: ControlPlane,
  workload: SpiffeId,
): string[] {
  const rollout = rollouts.all.get(workload);
  const document = documents.all.get(workload)?.document;
  if (rollout === undefined || document === undefined) return [];
  if (!points.of(workload).some(({ kind }) => kind === 'envoy')) return [];
  const { authentication, target } = rollout;
  const { losses } = envoyResources({
    workload,
    trustDomains: [...plane.registry.bundles.current.value.bundles.keys()],
    enforcement: { workload, authentication, stage: 'enforced', enforced: target, target },
    version: 'preflight',
    inbound: document.inbound,
    outbound: document.outbound,
    accessLogCluster: CONTROL_PLANE_CLUSTER,
  });
  return losses.target.flatMap(({ effect, policy, rule, what }) =>
    effect === 'wider' ? [`${policy}${rule === undefined ? '' : `/${rule}`}: ${what}`] : [],
  );
}
