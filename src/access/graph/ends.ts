import type { Directory, Resolved } from '../inventory/directory.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Named } from '../inventory/identify.ts';

/** Resolves ends of records, and gathers every name so that shared accounts are known before any ID is given. */
export class Ends {
  /** Each name once. */
  readonly named: Named[] = [];
  readonly #directory: Directory;
  readonly #texts = new Set<string>();
  /** What a SPIFFE ID means does not depend on the time. */
  readonly #bySpiffeId = new Map<string, Resolved>();

  constructor(directory: Directory) {
    this.#directory = directory;
    for (const { namespace, name, serviceAccount } of directory.workloads())
      this.#learn({ namespace, workload: name, serviceAccount });
    for (const { from, to } of directory.declared()) {
      this.#learn(from);
      if (to.kind === 'workload') this.#learn(to);
    }
  }

  /** What the end is, by the time in which it was seen. */
  of(end: Endpoint, { firstSeen, lastSeen }: { firstSeen: number; lastSeen: number }): Resolved {
    const known = end.spiffeId === undefined ? undefined : this.#bySpiffeId.get(end.spiffeId);
    if (known !== undefined) return known;
    const resolved = this.#directory.resolve(end, firstSeen, lastSeen);
    if (resolved.kind === 'workload') this.#learn(resolved);
    if (end.spiffeId !== undefined) this.#bySpiffeId.set(end.spiffeId, resolved);
    return resolved;
  }

  #learn(named: Named): void {
    const { namespace, workload = '\n', serviceAccount = '\n' } = named; // No name holds a line's end.
    const text = `${namespace}\n${workload}\n${serviceAccount}`;
    if (this.#texts.has(text)) return;
    this.#texts.add(text);
    this.named.push(named);
  }
}

/** Whether both mean the same. */
export function isSame(a: Resolved, b: Resolved): boolean {
  if (a === b) return true;
  switch (a.kind) {
    case 'spiffe':
      return b.kind === 'spiffe' && a.id === b.id;
    case 'outside':
      return b.kind === 'outside' && a.from === b.from;
    case 'ambiguous':
      return b.kind === 'ambiguous' && a.what === b.what;
    case 'workload':
      return (
        b.kind === 'workload' &&
        a.namespace === b.namespace &&
        a.workload === b.workload &&
        a.serviceAccount === b.serviceAccount
      );
  }
}
