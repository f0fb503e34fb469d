import { isInterlockError, type SpiffeId } from '../../../access/index.ts';
import { type CheckResult, preflight, type TierVerdict } from '../../../rollout/index.ts';
import type { Tier } from '../../../policy/index.ts';
import { Api, type ApiOf } from '../../control/api.ts';
import { gatesOf } from '../../gates-file.ts';

type Failed = Extract<CheckResult, { state: 'failed' }>;

/** Every check before a promotion (`enforce`), or before plain text is refused (`strict`), by the gates of the control plane. */
export async function checksOf(
  of: ApiOf,
  workload: SpiffeId,
  what: 'enforce' | 'strict',
): Promise<CheckResult[]> {
  const facts = await new Api(of).call('preflight.get', { params: { workload } });
  const { gates } = await gatesOf(of, undefined);
  const readiness = what === 'strict' ? undefined : await evidenceOf(of, workload, facts.tier);
  return preflight({ ...facts, ...(readiness === undefined ? {} : { readiness }) }, what, gates);
}

export function failedOf(checks: readonly CheckResult[]): Failed[] {
  return checks.flatMap((check) => (check.state === 'failed' ? [check] : []));
}

/** Rows of a listing, with its head. */
export function checkRows(checks: readonly CheckResult[]): string[][] {
  return [
    ['CHECK', 'RESULT', 'HAVE', 'WHAT TO DO'],
    ...checks.map((each) => [
      each.check,
      each.state === 'passed' ? 'passed' : 'FAILED',
      each.have,
      each.state === 'failed' ? each.what : '',
    ]),
  ];
}

/** The evidence as the control plane has it, and judges it for a tier; undefined where it has none of the workload. */
async function evidenceOf(of: ApiOf, workload: SpiffeId, tier: Tier): Promise<TierVerdict | undefined> {
  try {
    const { tiers } = await new Api(of).call('readiness.get', { params: { workload } });
    return tiers.find((verdict) => verdict.tier === tier);
  } catch (error) {
    if (isInterlockError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
}
