import { InterlockError } from '../../access/index.ts';
import type { StoredDocument } from '../../store/index.ts';

/** Characters of a reason, and names that are told at the start. */
const MOST_REASON = 200;
const MOST_NAMED = 3;

/** What documents of one kind are to people: it is said where one of them cannot be read. */
export interface DocumentKind {
  /** One of them by its name, for a list. */
  readonly listed: (name: string) => string;
  /** The same, within a sentence. */
  readonly one: (name: string) => string;
  /** What would come of a start without it. */
  readonly without: string;
  /** Who goes on by it meanwhile. */
  readonly users: 'proxies' | 'Envoys';
}

/** Why a document of the store cannot be read. */
export function unreadable(name: string, fault: string, cause?: unknown): InterlockError {
  return new InterlockError('state', name, fault.slice(0, MOST_REASON), { cause });
}

/** Reads all documents of a state. Throws `state` where one cannot be read, with what to do. */
export function readAll<T>(
  documents: readonly StoredDocument[],
  read: (document: StoredDocument) => T,
  { listed, without, users }: DocumentKind,
): T[] {
  const found: T[] = [];
  const faults = new Map<string, string>();
  for (const document of documents) {
    try {
      found.push(read(document));
    } catch (error) {
      faults.set(document.name, textOf(error));
    }
  }
  const [first] = faults.keys();
  if (first === undefined) return found;
  const told = [...faults].slice(0, MOST_NAMED).map(([name, fault]) => `${listed(shown(name))} (${fault})`);
  const more = faults.size > MOST_NAMED ? ` and ${faults.size - MOST_NAMED} more` : '';
  throw new InterlockError(
    'state',
    first,
    `the state holds what this version cannot read, and without it ${without}: ${told.join(', ')}${more}. Start the version that wrote it, or a newer one; or restore the state from a copy. Until then ${users} go on with what they have`,
  );
}

/** Documents of other replicas that this one cannot read: it goes on by what it has understood last. */
export class Unreadable {
  readonly #kind: DocumentKind;
  readonly #onFault: (error: unknown) => void;
  /** By name, the version that was reported, and why. */
  readonly #all = new Map<string, { readonly version: number; readonly fault: InterlockError }>();

  constructor(kind: DocumentKind, onFault: (error: unknown) => void) {
    this.#kind = kind;
    this.#onFault = onFault;
  }

  get names(): Iterable<string> {
    return this.#all.keys();
  }

  /** A version of a document cannot be read: it is reported once. */
  add({ name, version }: StoredDocument, cause: unknown): void {
    const { one, users } = this.#kind;
    const fault = new InterlockError(
      'unavailable',
      name,
      `this control plane cannot read ${one(shown(name))}: ${textOf(cause)}. Connected ${users} keep what they have, others are sent to another control plane; start the version here that the others have`,
      { cause },
    );
    if (this.#all.get(name)?.version !== version) this.#onFault(fault);
    this.#all.set(name, { version, fault });
  }

  /** It can be read again, or is gone. */
  delete(name: string): void {
    this.#all.delete(name);
  }

  /** Throws `unavailable` where the document of that name cannot be read. */
  check(name: string): void {
    const found = this.#all.get(name);
    if (found !== undefined) throw found.fault;
  }

  /** Throws `unavailable` where some document cannot be read. */
  checkAll(): void {
    for (const { fault } of this.#all.values()) throw fault;
  }
}

function shown(name: string): string {
  return name.slice(0, 400);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
