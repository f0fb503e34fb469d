import { networkOf } from '../peer-address.ts';
import type { Timers } from '../timers.ts';

/** How many may be there at one time: from all addresses and from one (of IPv6: one /64, which is what a machine has). */
export interface CrowdLimits {
  readonly all: number;
  readonly each: number;
}

export interface CrowdOptions {
  readonly timers: Pick<Timers, 'now'>;
  readonly most: CrowdLimits;
  /** From when on one makes room for another: milliseconds. Whoever is honest is done by then. */
  readonly slowMs: number;
  /** Of addresses behind which many stand: they are bounded with all others alone. */
  readonly isExempt: (address: string) => boolean;
}

interface Stranger {
  readonly network: string | undefined;
  readonly since: number;
  readonly close: () => void;
}

/**
 * Connections of those who have not shown yet who they are. Where the door is full the oldest that dawdles has to go, so that
 * nobody is kept out for as long as others hold theirs open; where none does, who comes last: those who are being served are not
 * turned away for others.
 */
export class Crowd {
  readonly #options: CrowdOptions;
  /** The oldest first. */
  readonly #all = new Set<Stranger>();
  readonly #each = new Map<string, Set<Stranger>>();
  #refused = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
  }

  /** How many were turned away since the start. */
  get refused(): number {
    return this.#refused;
  }

  /** How many are there. */
  get open(): number {
    return this.#all.size;
  }

  /** One more has come. Gives what ends it; undefined where it is turned away. `close` may be called for it later. */
  begin(address: string, close: () => void): (() => void) | undefined {
    const { isExempt, most, timers } = this.#options;
    const network = isExempt(address) ? undefined : networkOf(address);
    const own = network === undefined ? undefined : this.#each.get(network);
    const isFull =
      (own !== undefined && own.size >= most.each && !this.#makeRoom(own)) ||
      (this.#all.size >= most.all && !this.#makeRoom(this.#all));
    if (isFull) {
      this.#refused++;
      return undefined;
    }
    const made: Stranger = { network, since: timers.now(), close };
    this.#all.add(made);
    if (network !== undefined) {
      const others = this.#each.get(network) ?? new Set();
      this.#each.set(network, others.add(made));
    }
    return () => this.#end(made);
  }

  #makeRoom(among: ReadonlySet<Stranger>): boolean {
    const { timers, slowMs } = this.#options;
    const [oldest] = among;
    // A clock that was put back makes nobody slow.
    if (oldest === undefined || timers.now() - oldest.since < slowMs) return false;
    this.#end(oldest);
    this.#refused++;
    oldest.close();
    return true;
  }

  #end(one: Stranger): void {
    if (!this.#all.delete(one) || one.network === undefined) return;
    const own = this.#each.get(one.network);
    own?.delete(one);
    if (own?.size === 0) this.#each.delete(one.network);
  }
}
