import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import type { Received } from '../../../api/index.ts';
import { Api, type ApiOf } from '../../control/api.ts';

/** A named check of a promotion, as the control plane judges it. */
export type ShownCheck = Received<'preflight.get'>['gates'][number];

/** Every check before a promotion (`enforce`), or before plain text is refused (`strict`), as the control plane judges them. */
export async function checksOf(
  of: ApiOf,
  workload: SpiffeId,
  what: 'enforce' | 'strict',
): Promise<readonly ShownCheck[]> {
  const { gates, strict } = await new Api(of).call('preflight.get', { params: { workload } });
  return what === 'enforce' ? gates : strict;
}

export function failedOf(checks: readonly ShownCheck[]): ShownCheck[] {
  return checks.filter(({ passed }) => !passed);
}

/** Those that an error says are not passed; undefined where it is about something else. */
export function failedIn(error: unknown): ShownCheck[] | undefined {
  const checks = error instanceof InterlockError ? error.details?.['checks'] : undefined;
  return Array.isArray(checks) ? failedOf(checks.filter(isCheck)) : undefined;
}

function isCheck(value: unknown): value is ShownCheck {
  return (
    typeof value === 'object' && value !== null && 'name' in value && 'passed' in value && 'reason' in value
  );
}

/** Rows of a listing, with its head. */
export function checkRows(checks: readonly ShownCheck[]): string[][] {
  return [
    ['CHECK', 'RESULT', 'HAVE', 'WHAT TO DO'],
    ...checks.map(({ name, passed, reason, whatToDo = '' }) => [
      name,
      passed ? 'passed' : 'FAILED',
      reason,
      whatToDo,
    ]),
  ];
}
