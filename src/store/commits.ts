import type { Change, DocumentKind } from './identity-store.ts';

/** What a commit can touch: documents by their kind, and the store's other records. */
export type TouchedKind = DocumentKind | 'agent' | 'revocation' | 'join-token' | 'issued' | 'audit';

/** One thing that a commit changed. */
export interface Touched {
  readonly kind: TouchedKind;
  /**
   * The document's name, an agent's ID, what is revoked, a join token's hash, a credential's serial, an audit entry's
   * number. Absent where the commit touched more than {@link MAX_TOUCHED} things: any of the kind may have changed.
   */
  readonly name?: string;
}

/** A commit that was made, by whichever replica. */
export interface Committed {
  /** 1, 2, 3, ... without a gap, in the order in which the commits were made. */
  readonly seq: number;
  readonly touched: readonly Touched[];
  /** Made through this store. */
  readonly own: boolean;
  /** Commits before this one are not known any more (the watcher was away for too long): read everything anew. */
  readonly missed?: true;
}

/** Is told every commit, in order and once. */
export type OnCommit = (commit: Committed) => void;

/** Most things that a commit names one by one. */
export const MAX_TOUCHED = 1000;

/** What a commit touches. `audit` is the number of its entry in the audit log. */
export function touchedBy(changes: readonly Change[], audit?: number): Touched[] {
  const touched = changes.flatMap(touchedByOne);
  if (audit !== undefined) touched.push({ kind: 'audit', name: String(audit) });
  if (touched.length <= MAX_TOUCHED) return touched;
  return [...new Set(touched.map(({ kind }) => kind))].map((kind) => ({ kind }));
}

function touchedByOne(change: Change): Touched[] {
  switch (change.change) {
    case 'put':
    case 'remove':
      return [{ kind: change.kind, name: change.name }];
    case 'issue':
      return [{ kind: 'issued', name: change.svid.serial }];
    case 'drop':
      return change.serials.map((name) => ({ kind: 'issued', name }));
    case 'agent':
      return [{ kind: 'agent', name: change.agent.id }];
    case 'forget-agent':
      return [{ kind: 'agent', name: change.id }];
    case 'join-token':
      return [{ kind: 'join-token', name: change.token.hash }];
    case 'revoke':
      return [{ kind: 'revocation', name: change.revocation.value }];
    case 'allow':
      return [{ kind: 'revocation', name: change.value }];
    case 'require':
      return [];
  }
}

/** Those who watch a store's commits. */
export class Watchers {
  readonly #watchers = new Map<object, OnCommit>();

  /** Tells `onCommit` from now on; the function given back ends that. */
  add(onCommit: OnCommit): () => void {
    const key = {};
    this.#watchers.set(key, onCommit);
    return () => void this.#watchers.delete(key);
  }

  tell(commit: Committed): void {
    for (const onCommit of this.#watchers.values()) {
      try {
        onCommit(commit);
      } catch (error) {
        // A watcher's own fault: the others are told all the same, and the process hears of it as of any uncaught error.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
