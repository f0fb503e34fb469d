import { type Certificate, parseCertificate } from '../../identity/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import { certificateOf, type Slot } from '../identity/slots.ts';
import type { ServerLog } from '../serve-options.ts';
import type { Timers } from '../timers.ts';

export interface ReplacementOptions {
  readonly timers: Timers;
  readonly log: ServerLog;
  readonly plane: () => ControlPlane;
  /** Whether the authorities of that name are certified by the other side. */
  readonly certifies: (name: string) => boolean;
  /** Of the SVID towards the other side: the leaf, and how it is renewed. */
  readonly leaf: () => Uint8Array | undefined;
  readonly renew: () => Promise<void>;
  /** Is called with every authority that is to be drained of its SVIDs. */
  readonly watch: (slot: Slot) => void;
  /** How long until what failed is tried again, in ms. */
  readonly retryMs: number;
}

/**
 * The superior's authority is tainted: what it certified here gives way, and then what that has signed. It says so again
 * at every connection while the authority is trusted: what is done already stays as it is.
 */
export class Replacements {
  readonly #options: ReplacementOptions;
  /** Authorities whose SVIDs are to be replaced once they sign no more, and over which time. */
  readonly #taints = new Map<string, number>();
  /** Those that failed and are tried again, by the superior's authority. */
  readonly #retries = new Map<string, () => void>();

  constructor(options: ReplacementOptions) {
    this.#options = options;
  }

  /** Forgets what was under way: the superior says it again. */
  clear(): void {
    for (const undo of this.#retries.values()) undo();
    this.#retries.clear();
    this.#taints.clear();
  }

  /** Replaces what the authority with this key ID has certified here, over this time. */
  async replace(authority: string, overMs: number): Promise<void> {
    const { log, timers, retryMs } = this.#options;
    try {
      await this.#replace(authority, overMs);
    } catch (error) {
      log.warn({ error, authority }, "what the parent's tainted authority certified is not replaced yet");
      // However often it is said, it is tried again once.
      this.#retries.get(authority)?.();
      this.#retries.set(
        authority,
        timers.after(retryMs, () => void this.replace(authority, overMs)),
      );
    }
  }

  async #replace(authority: string, overMs: number): Promise<void> {
    const { plane, certifies, leaf, renew, watch } = this.#options;
    const { authorities } = plane();
    const isOf = (certificate: Certificate | undefined) => certificate?.authorityKeyId === authority;
    // Of two superiors each speaks for what it has certified itself, whatever key it names.
    const isTheirs = (slot: Slot) => certifies(slot.name) && isOf(certificateOf(slot));
    for (const slot of authorities.slots.filter(isTheirs)) {
      if (slot.state === 'prepared') await authorities.prune('parent', slot.id);
      else if (slot.state === 'active') this.#taints.set(slot.id, overMs);
      else {
        if (slot.taintedAt === undefined) await authorities.taint('parent', slot.id, overMs);
        watch(slot);
      }
    }
    for (const slot of authorities.slots)
      if (slot.state === 'active' && isTheirs(slot)) await authorities.rotate('parent', slot.name);
    const own = leaf();
    if (own !== undefined && isOf(parseCertificate(own))) await renew();
  }

  /** Of those slots, taints what was to sign no more first. */
  look(slots: readonly Slot[]): void {
    const { plane, watch, log } = this.#options;
    for (const slot of slots) {
      const { id, state } = slot;
      const overMs = this.#taints.get(id);
      if (overMs === undefined || state !== 'old') continue;
      this.#taints.delete(id);
      watch(slot);
      plane()
        .authorities.taint('parent', id, overMs)
        .catch((error: unknown) => log.error({ error }, 'an authority could not be tainted'));
    }
  }
}
