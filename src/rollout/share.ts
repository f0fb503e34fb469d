import type { EnforcementPoint } from './enforcement.ts';

/** 2^32: one more than the largest hash. */
const HASHES = 0x1_0000_0000;

/**
 * Where a point stands between 0 and 1: the same over restarts and control planes, and even over many points. A share
 * holds the points below it, so a share that widens keeps everyone it had. (FNV-1a, then the last steps of
 * MurmurHash3, because FNV alone leaves names that differ in their last letter close together.)
 */
export function placeOf({ workload, instance }: EnforcementPoint): number {
  let hash = 0x811c9dc5;
  const text = `${workload}\n${instance}`;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / HASHES;
}

/** Whether a point belongs to a share from 0 to 1. */
export function isInShare(point: EnforcementPoint, share: number): boolean {
  return placeOf(point) < share;
}
