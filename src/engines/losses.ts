import type { Loss } from './engine.ts';

/** Collects losses; one that was told already is not told again. Rules may be told by many cells each. */
export class Losses {
  readonly #told = new Map<string, Loss>();

  /** `where` is the policy, and the rule where it is about one. */
  add(
    effect: Loss['effect'],
    code: string,
    where: { readonly policy: string; readonly rule?: string },
    what: string,
  ): void {
    const { policy, rule } = where;
    const loss: Loss =
      rule === undefined ? { effect, code, policy, what } : { effect, code, policy, rule, what };
    this.#told.set(JSON.stringify([effect, code, policy, rule, what]), loss);
  }

  /** All that was told: what allows more first, remarks last; in the order of telling otherwise. */
  list(): Loss[] {
    const order = { wider: 0, narrower: 1, same: 2 };
    return [...this.#told.values()].toSorted((a, b) => order[a.effect] - order[b.effect]);
  }
}
