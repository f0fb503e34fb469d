import type { WorkloadRollout } from './enforcement.ts';

/** What was seen at a point, as far as it says by which target set: `lastSeen` is milliseconds since 1970 UTC. */
export interface JudgedByTarget {
  /** Version of the target set that judged it; absent where the point did not say, or had no target. */
  readonly targetVersion?: number;
  readonly lastSeen: number;
}

/**
 * The version of a target set that follows another one: it grows with each, and is the time of the change where the clock
 * does not stand still, so that what came without a version can be told by its time.
 */
export function nextTargetVersion({ targetVersion = 0 }: Partial<WorkloadRollout>, now: number): number {
  return Math.max(targetVersion + 1, Math.floor(now));
}

/**
 * Whether what was seen says something of the target set of today: it was judged by this one, or, where nobody says by
 * which, seen since it is the target.
 */
export function isOfTarget(seen: JudgedByTarget, rollout: WorkloadRollout | undefined): boolean {
  const current = rollout?.targetVersion;
  if (current === undefined) return true;
  return seen.targetVersion === undefined ? seen.lastSeen >= current : seen.targetVersion === current;
}

/** Names what an Envoy has in force, in its access logs: `VERSION.DIGEST`, 0 for no target. */
export function enforcementVersion(targetVersion: number | undefined, digest: string): string {
  return `${targetVersion ?? 0}.${digest}`;
}

/** The version of the target set in what {@link enforcementVersion} wrote; undefined for any other text, and for none. */
export function targetVersionOf(text: string | undefined): number | undefined {
  const version = Number(/^(\d{1,15})\.[\w-]+$/.exec(text ?? '')?.[1] ?? 0);
  return version === 0 ? undefined : version;
}
