import type { SockDiag } from '../../system/index.ts';
import type { X509View } from '../../workload/index.ts';
import type { InboundRoute } from '../types.ts';
import { textOf } from './document.ts';
import type { Owners } from './owners.ts';
import type { KnownProcess, ProcessBook } from './process-book.ts';

const MAX_PROGRAMS = 10_000;

/** The identity to take a workload's connections under, or why there is none. */
export type Program = { readonly view: X509View } | { readonly view?: undefined; readonly reason: string };

/**
 * The programs behind the inbound routes. A connection for a workload is taken only while a process of that workload
 * listens where it goes on to: nobody else gets what its callers send, be it that it took the port of a program that
 * has ended.
 */
export class Programs {
  readonly #diag: Pick<SockDiag, 'listener'>;
  readonly #owners: Owners;
  readonly #book: ProcessBook;
  /** Listening sockets whose process is known, by where and which. */
  readonly #known = new Map<string, KnownProcess>();

  constructor(diag: Pick<SockDiag, 'listener'>, owners: Owners, book: ProcessBook) {
    this.#diag = diag;
    this.#owners = owners;
    this.#book = book;
  }

  async of({ workload, forward }: InboundRoute): Promise<Program> {
    const where = textOf(forward);
    const held = this.#diag.listener(forward)?.held;
    if (held === undefined) return { reason: `no program of this node listens at ${where}` };
    const key = `${where} ${held.inode}`;
    const known = this.#known.get(key);
    if (known === undefined || this.#book.known(known.pid) !== known || !known.workloads.includes(workload)) {
      this.#known.delete(key);
      const owned = await this.#owners.listener(forward, workload);
      if (owned.workload === undefined) return { reason: owned.reason };
      const process = this.#book.known(owned.pid);
      if (this.#known.size >= MAX_PROGRAMS) this.#known.clear();
      if (process !== undefined && this.#diag.listener(forward)?.held?.inode === held.inode)
        this.#known.set(key, process);
    }
    const view = this.#book.views.get(workload);
    return view === undefined ? { reason: `${workload} has no identity yet` } : { view };
  }
}
