import { useQuery } from '@tanstack/react-query';
import type { CheckResult, PreflightFacts } from '../../../src/rollout/preflight.ts';
import { preflight } from '../../../src/rollout/preflight.ts';
import { read } from '../api/query.ts';

/** The checks before a promotion, by the rules of the rollout room and the gates of this control plane. */
export function usePreflight(workload: string) {
  const facts = useQuery(read('preflight.get', { params: { workload } }));
  const gates = useQuery(read('gates.get', {}));
  const readiness = useQuery(read('readiness.get', { params: { workload } }));
  const tier = readiness.data?.tiers.find((each) => each.tier === facts.data?.tier);
  let checks: readonly CheckResult[] | undefined;
  if (facts.data !== undefined && gates.data !== undefined && !readiness.isPending) {
    // The control plane judges by the same room: its gates have the names that are expected here.
    const known = { ...facts.data, ...(tier === undefined ? {} : { readiness: tier }) } as PreflightFacts;
    checks = preflight(known, 'enforce', gates.data.gates);
  }
  return { checks, tier, readiness, error: facts.error ?? gates.error };
}
