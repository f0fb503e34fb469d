import { actionText, principalText, type SpiffeId } from '../../access/index.ts';
import { CONTROL_PLANE_CLUSTER, envoyResources } from '../../engines/envoy/resources/index.ts';
import { isDeniedOnPurpose, type PreflightFacts } from '../../rollout/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Timers } from '../timers.ts';
import type { Enforcing } from './enforcing.ts';

const DAY_MS = 86_400_000;

/** What the control plane knows of a workload before a promotion: all but its evidence, which the state holds. */
export async function preflightFacts(
  enforcing: Enforcing,
  plane: ControlPlane,
  timers: Timers,
  workload: SpiffeId,
): Promise<Omit<PreflightFacts, 'readiness'>> {
  const { rollouts, points, evidence, releases } = enforcing;
  const now = timers.now();
  const rollout = rollouts.all.get(workload);
  const filter = { spiffeId: workload, kind: 'workload', liveAt: now } as const;
  const live = await plane.recorder.within(plane.store.issued(filter));
  const isStale = ({ issuedAt, notAfter }: (typeof live)[number]) =>
    now > issuedAt + (notAfter - issuedAt) * 0.75;
  const lastDrill = releases.drills.findLast(
    (drill) => drill.points > 0 && drill.confirmed === drill.points,
  )?.at;
  return {
    now,
    tier: rollout?.tier ?? 'standard',
    policies: rollout?.target.length ?? 0,
    svids: { live: live.length, stale: live.filter(isStale).length },
    agentsBehind: plane.link.behind(plane.registry.bundles.current.version),
    proxies: points.of(workload).map(({ key, connected, applied, wanted, clockOffset, fault }) => ({
      key,
      connected,
      isUpToDate: applied >= wanted,
      ...(clockOffset === undefined ? {} : { clockOffset }),
      ...(fault === undefined ? {} : { fault: fault.message }),
    })),
    plaintextCallers: evidence
      .plaintextCallers(workload, now - DAY_MS)
      .map(({ from, workload: behind, connections, lastSeen }) => ({
        from: behind === undefined ? from : `${behind} at ${from}`,
        connections,
        lastSeen,
      })),
    wouldDeny: evidence
      .flips({ to: workload })
      .filter((flip) => flip.before.allowed && !flip.after.allowed && !isDeniedOnPurpose(flip))
      .map(({ from, action, count }) => ({ what: `${principalText(from)} ${actionText(action)}`, count })),
    widerLosses: widerAtEnvoys(enforcing, plane, workload),
    ...(lastDrill === undefined ? {} : { lastDrill }),
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
