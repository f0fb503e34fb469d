import type { Seen } from './intake.ts';

/** Milliseconds of a cell, and how many milliseconds back cells of this size reach. */
const SIZES = [
  [1000, 2 * 60_000],
  [60_000, 2 * 3_600_000],
  [3_600_000, 3 * 86_400_000],
] as const;
const [[SMALLEST]] = SIZES;
const LONGEST = SIZES[2][1];
/** Cells that may pile up before old ones are put together. */
const SLACK = 64;
/** Keys that are held: more than all points of an estate have workloads. Proxies name themselves, so there is an end. */
const MOST_KEYS = 500_000;

/** Start, requests and lost by turns, in the order in which they came: fine for what is new, coarse for what is old. */
type Cells = number[];

/** How much was seen when, for each of many keys, in little memory. */
export class Rates {
  readonly #keys = new Map<string, { cells: Cells; packedTo: number }>();
  readonly #most: number;

  /** `most` keys at a time: those that nothing was added to for longest make room. */
  constructor(most = MOST_KEYS) {
    this.#most = most;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** `at` is the earliest that it can have been. */
  add(key: string, at: number, { requests, lost }: Seen): void {
    let known = this.#keys.get(key);
    if (known === undefined) {
      const [oldest] = this.#keys.keys();
      if (this.#keys.size >= this.#most && oldest !== undefined) this.#keys.delete(oldest);
      known = { cells: [], packedTo: 0 };
    } else this.#keys.delete(key);
    // Taken out and put in again: the one that was added to last goes last.
    this.#keys.set(key, known);
    const { cells } = known;
    const start = at - (at % SMALLEST);
    const last = cells.length - 3;
    if (cells[last] === start) {
      cells[last + 1] = (cells[last + 1] ?? 0) + requests;
      cells[last + 2] = (cells[last + 2] ?? 0) + lost;
      return;
    }
    cells.push(start, requests, lost);
    if (cells.length > 3 * (known.packedTo + SLACK)) {
      known.cells = packed(cells, at);
      known.packedTo = known.cells.length / 3;
    }
  }

  /** Everything that was surely seen since a time. */
  since(key: string, since: number): Seen {
    let requests = 0;
    let lost = 0;
    const cells = this.#keys.get(key)?.cells ?? [];
    for (let i = 0; i < cells.length; i += 3) {
      if ((cells[i] ?? 0) < since) continue;
      requests += cells[i + 1] ?? 0;
      lost += cells[i + 2] ?? 0;
    }
    return { requests, lost };
  }

  /** Forgets keys that nothing was seen of for longer than cells reach back. */
  prune(now: number): void {
    for (const [key, { cells }] of this.#keys) {
      let newest = 0;
      for (let i = 0; i < cells.length; i += 3) newest = Math.max(newest, cells[i] ?? 0);
      if (newest < now - LONGEST) this.#keys.delete(key);
    }
  }
}

/** The same in fewer cells. A cell that is put together begins where its span does: too early rather than too late. */
function packed(cells: Cells, now: number): Cells {
  const sums = new Map<number, [number, number]>();
  for (let i = 0; i < cells.length; i += 3) {
    const at = cells[i] ?? 0;
    const size = SIZES.find(([, reach]) => now - at < reach)?.[0];
    if (size === undefined) continue;
    const start = at - (at % size);
    const [requests, lost] = sums.get(start) ?? [0, 0];
    sums.set(start, [requests + (cells[i + 1] ?? 0), lost + (cells[i + 2] ?? 0)]);
  }
  return [...sums].sort(([a], [b]) => a - b).flatMap(([start, [requests, lost]]) => [start, requests, lost]);
}
