import { percent } from '../parts/words.ts';

/** Whether one end of connections agrees keys with a post-quantum mechanism, by what was seen of it. */
export type Ability = 'can' | 'sometimes' | 'cannot' | 'unknown';

interface Counts {
  readonly postQuantum: number;
  readonly classical: number;
  readonly unknown: number;
  readonly lastClassical?: number;
  readonly lastPostQuantum?: number;
}

/** What was seen last decides where both were: who was upgraded can, and who was set back cannot always. */
export function abilityOf({
  postQuantum,
  classical,
  lastClassical = 0,
  lastPostQuantum = 0,
}: Counts): Ability {
  if (postQuantum === 0) return classical === 0 ? 'unknown' : 'cannot';
  if (classical === 0 || lastPostQuantum - lastClassical > SETTLED_MS) return 'can';
  return 'sometimes';
}

/** So long after the last classical handshake of one end it counts as upgraded, milliseconds. */
const SETTLED_MS = 3_600_000;

/** Coverage in words, and as shares of the calls whose group is known. */
export function coverageOf({
  calls,
  postQuantum,
  unknown,
}: {
  readonly calls: number;
  readonly postQuantum: number;
  readonly unknown: number;
}): { readonly share: number; readonly unknownShare: number; readonly text: string } {
  const known = calls - unknown;
  const share = known <= 0 ? 0 : postQuantum / known;
  // Rounded down: what is shown never looks better than it is.
  const shown = percent(Math.floor(share * 1000) / 1000);
  return {
    share,
    unknownShare: calls === 0 ? 0 : unknown / calls,
    text:
      known <= 0
        ? 'No group of a handshake is known'
        : `${shown} of calls go over connections with a post-quantum key`,
  };
}
