/** What a proxy may cost the control plane. */
export const LIMITS = {
  /** Bytes of one request: 10,000 names of a usual length, and Envoy's node, which lists its extensions (about 40 KB). */
  requestBytes: 4 * 1024 * 1024,
  /** Names of one type on one stream, and the characters of each: a SPIFFE ID and what we put around it. */
  names: 10_000,
  nameLength: 4096,
  /** Characters that are kept of a proxy's words about a refusal. */
  refusalLength: 2000,
  /** Metadata of a node: bytes, and levels of nesting. */
  metadataBytes: 64 * 1024,
  metadataDepth: 16,
  /** Streams at one time of one identity: many instances of a workload share it. */
  streamsPerIdentity: 2000,
  /** Requests a second of one stream, and how many may come at once: a proxy with many clusters asks for each one's endpoints. */
  requestsPerSecond: 200,
  requestBurst: 2000,
  /** How long the first request may take; milliseconds. */
  greetingMs: 10_000,
  /** How long a listener waits for the answer to its new clusters; milliseconds. Envoy answers when they are warm. */
  gateMs: 5000,
  /** After how long without an answer a proxy is reported `unconfirmed`; milliseconds. */
  confirmMs: 10_000,
  /** How long, and for how many, the last status of those that left is kept; milliseconds. */
  leftMs: 24 * 3600 * 1000,
  left: 10_000,
  /** Confirmations that are kept of each proxy. */
  confirmations: 64,
} as const;

export type Limits = { readonly [Name in keyof typeof LIMITS]: number };

/** The text, or its beginning. */
export function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 3)}...`;
}

/** How many requests may come: a bucket that fills with time. */
export class Allowance {
  readonly #perMs: number;
  readonly #most: number;
  #left: number;
  #at: number;

  constructor(perSecond: number, most: number, now: number) {
    this.#perMs = perSecond / 1000;
    this.#most = most;
    this.#left = most;
    this.#at = now;
  }

  /** Takes so many; gives how many milliseconds to wait for the next, 0 while there are more. */
  take(count: number, now: number): number {
    // A clock that was set back gives nothing and takes nothing.
    this.#left = Math.min(this.#most, this.#left + Math.max(0, now - this.#at) * this.#perMs) - count;
    this.#at = now;
    return this.#left >= 0 ? 0 : Math.ceil(-this.#left / this.#perMs);
  }
}
