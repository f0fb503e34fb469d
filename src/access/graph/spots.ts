import { actionKey } from '../action.ts';
import { order } from '../order.ts';
import { type Principal, principalText } from '../principal.ts';
import type { Access, KnownBlindSpot } from './graph.ts';

/** Adds up blind spots between resolved ends, and drops those that another recording has seen after all. */
export class SpotMerger {
  readonly #spots = new Map<string, KnownBlindSpot>();

  add(spot: KnownBlindSpot): void {
    const key = `${spot.kind}\n${principalText(spot.from)}\n${principalText(spot.to)}\n${spot.what}`;
    const known = this.#spots.get(key);
    if (known === undefined) {
      this.#spots.set(key, spot);
      return;
    }
    this.#spots.set(key, {
      ...known,
      count: known.count + spot.count,
      firstSeen: Math.min(known.firstSeen, spot.firstSeen),
      lastSeen: Math.max(known.lastSeen, spot.lastSeen),
    });
  }

  /** Those that are added up so far. */
  get all(): readonly KnownBlindSpot[] {
    return [...this.#spots.values()];
  }

  finish(accesses: readonly Access[]): KnownBlindSpot[] {
    // Pairs whose calls are looked for -> the actions that were observed.
    const observed = new Map<string, Set<string>>();
    const pairText = (from: Principal, to: Principal) => `${principalText(from)}\n${principalText(to)}`;
    for (const { kind, from, to } of this.#spots.values()) {
      if (kind === 'client-only' && to.kind === 'workload') observed.set(pairText(from, to), new Set());
    }
    for (const { from, to, action, views } of observed.size === 0 ? [] : accesses) {
      if (views.includes('observed')) observed.get(pairText(from, to))?.add(actionKey(action));
    }
    const wasSeen = ({ kind, from, to, action }: KnownBlindSpot) => {
      const actions = kind === 'client-only' ? observed.get(pairText(from, to)) : undefined;
      if (actions === undefined) return false;
      return action === undefined ? actions.size > 0 : actions.has(actionKey(action));
    };
    return [...this.#spots.values()]
      .filter((spot) => spot.count > 0 && !wasSeen(spot))
      .toSorted((a, b) => b.count - a.count || order(spotText(a), spotText(b)));
  }
}

const spotText = (s: KnownBlindSpot) => `${s.kind} ${principalText(s.from)} ${principalText(s.to)} ${s.what}`;
