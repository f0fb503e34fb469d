import type { SpiffeId } from '../../access/index.ts';
import type { AuditEntry, IdentityStore } from '../../store/index.ts';

/** Entries read at one time, and those kept of one workload. */
const PAGE = 1000;
const MOST_ENTRIES = 1000;
/** Acts that say how far a workload has come, by their beginnings. */
const ACTS = ['policy.', 'rollout.', 'authentication.', 'review.'];

/** Who has moved each workload, when, and on what: entries of the audit log by workload, read on where it was left. */
export class History {
  readonly #store: Pick<IdentityStore, 'audit'>;
  readonly #entries = new Map<string, AuditEntry[]>();
  #next = 1;
  #reading: Promise<void> = Promise.resolve();

  constructor(store: Pick<IdentityStore, 'audit'>) {
    this.#store = store;
  }

  /** The newest first; at most a thousand. */
  async of(workload: SpiffeId): Promise<readonly AuditEntry[]> {
    const reading = this.#reading.then(() => this.#readOn());
    // What could not be read is read by the next one who asks.
    this.#reading = reading.catch(() => {});
    await reading;
    return (this.#entries.get(workload) ?? []).toReversed();
  }

  async #readOn(): Promise<void> {
    for (;;) {
      const page = await this.#store.audit(this.#next, PAGE);
      for (const entry of page) {
        this.#next = entry.seq + 1;
        if (ACTS.some((act) => entry.act.startsWith(act))) this.#note(entry);
      }
      if (page.length < PAGE) return;
    }
  }

  #note(entry: AuditEntry): void {
    for (const workload of workloadsOf(entry)) {
      const own = this.#entries.get(workload);
      if (own === undefined) this.#entries.set(workload, [entry]);
      else if (own.push(entry) > MOST_ENTRIES) own.shift();
    }
  }
}

/** An entry about several workloads lists them in its details. */
function workloadsOf({ what, details }: AuditEntry): readonly string[] {
  const listed =
    typeof details === 'object' && details !== null && 'workloads' in details ? details.workloads : undefined;
  const names: readonly unknown[] = Array.isArray(listed) ? listed : [];
  return [...new Set([what, ...names.filter((name) => typeof name === 'string')])].filter((name) =>
    name.startsWith('spiffe://'),
  );
}
