import { copyBytes, mix, PAD, sameBytes } from './bytes.ts';

/** A key for {@link ByteCache}, made of runs of bytes that stay where they are. */
export class RunKey {
  view: DataView = new DataView(new ArrayBuffer(PAD));
  a = 0;
  b = 0;
  count = 0;
  hash = 0;
  readonly start: Int32Array;
  readonly length: Int32Array;

  /** `runs`: how many at most. */
  constructor(runs: number) {
    this.start = new Int32Array(runs);
    this.length = new Int32Array(runs);
  }

  /** Begins a key with two numbers of 32 bits; its runs will be in `view`. */
  begin(view: DataView, a: number, b: number): void {
    this.view = view;
    this.a = a;
    this.b = b;
    this.hash = mix(mix(0, a), b);
    this.count = 0;
  }

  /** Adds a run and its hash. Keys with equal numbers have as many runs. */
  add(start: number, length: number, hash: number): void {
    this.start[this.count] = start;
    this.length[this.count] = length;
    this.hash = mix(this.hash, hash ^ length);
    this.count++;
  }
}

/** Places that a key may be in: with one alone, two keys of one place would drive each other out in turn. */
const WAYS = 4;

/**
 * Values kept under runs of bytes, without making a string of them. A key has {@link WAYS} places, by its hash, and
 * takes one from whoever is there: the size is fixed whatever is read, and made-up hash collisions cost misses, no
 * more.
 */
export class ByteCache<T> {
  readonly #mask: number;
  readonly #width: number;
  readonly #keys: DataView;
  readonly #hashes: Int32Array;
  readonly #values: (T | undefined)[];
  #victim = 0;

  /** `places`: a power of two. `width`: longest key in bytes with 8 for its numbers and 4 for each run; longer ones are never found. */
  constructor(places: number, width: number) {
    if ((places & (places - 1)) !== 0) throw new RangeError('the number of places is a power of two');
    this.#mask = (places - 1) & ~(WAYS - 1);
    this.#width = width + PAD;
    this.#keys = new DataView(new ArrayBuffer(places * this.#width));
    this.#hashes = new Int32Array(places);
    this.#values = Array.from({ length: places }, () => undefined);
  }

  /** The value under a key, if it is still kept. */
  get(key: RunKey): T | undefined {
    const first = key.hash & this.#mask;
    for (let place = first; place < first + WAYS; place++) {
      if (this.#hashes[place] !== key.hash) continue;
      const value = this.#values[place];
      if (value !== undefined && this.#isAt(place, key)) return value;
    }
    return undefined;
  }

  #isAt(place: number, key: RunKey): boolean {
    const keys = this.#keys;
    let at = place * this.#width;
    if (keys.getInt32(at, true) !== key.a || keys.getInt32(at + 4, true) !== key.b) return false;
    at += 8;
    for (let i = 0; i < key.count; i++) {
      const length = key.length[i] as number;
      if (keys.getInt32(at, true) !== length) return false;
      if (!sameBytes(key.view, key.start[i] as number, keys, at + 4, length)) return false;
      at += 4 + length;
    }
    return true;
  }

  /** Keeps a value under a key that was not found, unless the key is too long. */
  put(key: RunKey, value: T): void {
    let size = 8;
    for (let i = 0; i < key.count; i++) size += 4 + (key.length[i] as number);
    if (size > this.#width - PAD) return;
    const first = key.hash & this.#mask;
    let place = first;
    while (place < first + WAYS && this.#values[place] !== undefined) place++;
    if (place === first + WAYS) place = first + (this.#victim++ & (WAYS - 1));
    const keys = this.#keys;
    let at = place * this.#width;
    keys.setInt32(at, key.a, true);
    keys.setInt32(at + 4, key.b, true);
    at += 8;
    for (let i = 0; i < key.count; i++) {
      const length = key.length[i] as number;
      keys.setInt32(at, length, true);
      copyBytes(keys, at + 4, key.view, key.start[i] as number, length);
      at += 4 + length;
    }
    this.#hashes[place] = key.hash;
    this.#values[place] = value;
  }
}
