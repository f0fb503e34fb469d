import { InterlockError, type SpiffeId } from '../../access/index.ts';
import type { LocalRelease } from '../../proto/proxy/index.ts';
import type { ReleasedHere } from './points.ts';

/** As many as a proxy keeps, and their texts. */
const MAX_RELEASES = 100;
const MAX_REASON = 1000;
const MAX_NAME = 64;

/**
 * What a proxy says of the releases made at it, in our own shape. One of a workload that the proxy does not serve releases
 * nothing, and is left out. Throws `limit`, `usage`.
 */
export function readLocalReleases(
  releases: readonly LocalRelease[],
  served: readonly SpiffeId[],
): ReleasedHere[] {
  if (releases.length > MAX_RELEASES)
    throw new InterlockError('limit', 'releases', `a proxy has at most ${MAX_RELEASES} releases of its own`);
  return releases.flatMap(({ workload, reason, by, at, until }) => {
    const of = workload === '' ? undefined : served.find((id) => id === workload);
    if (workload !== '' && of === undefined) return [];
    const release: ReleasedHere = {
      ...(of === undefined ? {} : { workload: of }),
      reason: textOf(reason, MAX_REASON),
      by: textOf(by, MAX_NAME),
      at: timeOf(at),
      ...(until === 0n ? {} : { until: timeOf(until) }),
    };
    return [release];
  });
}

/** It goes to terminals: what is no text there is none. */
function textOf(text: string, longest: number): string {
  return text.slice(0, longest).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ');
}

function timeOf(time: bigint): number {
  const ms = Number(time);
  if (ms < 0 || !Number.isSafeInteger(ms))
    throw new InterlockError('usage', 'releases', 'a time that is none');
  return ms;
}
