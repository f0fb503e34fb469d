import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { READ, tryReadBelow } from './tree.ts';

/** Largest object that is read, in bytes: commits and directories are far smaller. */
const MAX_OBJECT = 8 * 1024 * 1024;
/** A delta is made of another one, at most so often (Git's own default is 50). */
const MAX_CHAIN = 200;
const MAX_PACKS = 200;
/** Of all objects together, and what they are made of, in bytes: a small pack can hold as much as it likes. */
const MAX_ALL = 1024 * 1024 * 1024;
const MAX_ALTERNATES = 5;
/** Largest list of directories that are borrowed from, in bytes. */
const MAX_ALTERNATES_FILE = 64 * 1024;

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';
/** Numbers of types in a pack (gitformat-pack). */
const TYPES: Readonly<Record<number, ObjectType>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' };
/** Of an index: magic, version and the table of first bytes. */
const HEAD_BYTES = 8 + 256 * 4;
const OFS_DELTA = 6;
const REF_DELTA = 7;

/** An object of Git. */
export interface GitObject {
  readonly type: ObjectType;
  readonly data: Buffer;
}

/**
 * Reads objects of a repository from its files, loose and packed (gitformat-pack, versions 2 of index and pack), so that no
 * program of the repository's choice is started. Whatever is not as it should be is not there: undefined.
 */
export class GitObjects {
  readonly #dirs: readonly string[];
  #packs: Pack[] | undefined;
  #left: number;

  /** `common` is the directory of Git that worktrees share; `most` bytes are read, and nothing beyond. */
  constructor(common: string, most = MAX_ALL) {
    this.#dirs = objectDirs(join(common, 'objects'));
    this.#left = most;
  }

  read(hash: string): GitObject | undefined {
    try {
      return this.#read(hash, 0);
    } catch {
      // Damaged, too large, or made to trap: who asks does without it.
      return undefined;
    }
  }

  close(): void {
    for (const pack of this.#packs ?? []) pack.close();
    this.#packs = [];
  }

  #read(hash: string, depth: number): GitObject | undefined {
    if (!/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(hash) || depth > MAX_CHAIN) return undefined;
    for (const dir of this.#dirs) {
      const loose = looseObject(dir, hash, Math.min(this.#left, MAX_OBJECT));
      if (loose === undefined) continue;
      this.#spend(loose.data.length);
      return loose;
    }
    const hashBytes = hash.length / 2;
    this.#packs ??= this.#dirs.flatMap((dir) => packsOf(join(dir, 'pack'), hashBytes));
    for (const pack of this.#packs) {
      const offset = pack.offsetOf(hash);
      if (offset !== undefined) return this.#packed(pack, offset, depth);
    }
    return undefined;
  }

  #packed(pack: Pack, offset: number, depth: number): GitObject | undefined {
    if (depth > MAX_CHAIN) return undefined;
    const entry = pack.entry(offset);
    if (entry === undefined) return undefined;
    // Of a delta what it says itself, and what it makes.
    this.#spend(entry.size);
    const type = TYPES[entry.type];
    if (type !== undefined) return { type, data: entry.data() };
    const { base } = entry;
    const under =
      base === undefined
        ? undefined
        : typeof base === 'number'
          ? this.#packed(pack, base, depth + 1)
          : this.#read(base, depth + 1);
    return (
      under && { type: under.type, data: patched(under.data, entry.data(), (size) => this.#spend(size)) }
    );
  }

  /** Before the bytes are made. */
  #spend(bytes: number): void {
    if (bytes > this.#left) throw new RangeError('more than is read of one repository');
    this.#left -= bytes;
  }
}

/** The directory of objects, and those that it borrows from. */
function objectDirs(first: string): string[] {
  const dirs = [first];
  for (let i = 0; i < dirs.length && dirs.length <= MAX_ALTERNATES; i++) {
    const dir = dirs[i] ?? first;
    for (const line of (tryReadBelow(dir, 'info/alternates', MAX_ALTERNATES_FILE) ?? '').split('\n')) {
      const path =
        line === '' || line.startsWith('#') ? undefined : isAbsolute(line) ? line : join(dir, line);
      if (path !== undefined && !dirs.includes(path) && dirs.length <= MAX_ALTERNATES) dirs.push(path);
    }
  }
  return dirs;
}

function looseObject(dir: string, hash: string, most: number): GitObject | undefined {
  const file = tryOpen(join(dir, hash.slice(0, 2), hash.slice(2)));
  if (file === undefined) return undefined;
  try {
    const whole = inflateSync(file.read(0, Math.min(file.size, MAX_OBJECT)), {
      maxOutputLength: Math.max(1, most),
    });
    const end = whole.indexOf(0);
    const [type = '', size = ''] = whole.toString('latin1', 0, Math.min(end, 32)).split(' ');
    const data = whole.subarray(end + 1);
    const known = Object.values(TYPES).find((name) => name === type);
    return known !== undefined && Number(size) === data.length ? { type: known, data } : undefined;
  } finally {
    file.close();
  }
}

interface OpenFile {
  readonly size: number;
  read(at: number, length: number): Buffer;
  close(): void;
}

function tryOpen(path: string): OpenFile | undefined {
  let handle: number;
  try {
    handle = openSync(path, READ);
  } catch {
    return undefined;
  }
  const stat = fstatSync(handle);
  if (!stat.isFile()) {
    closeSync(handle);
    return undefined;
  }
  return {
    size: stat.size,
    read(at, length) {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, stat.size - at)));
      return bytes.subarray(0, readSync(handle, bytes, 0, bytes.length, at));
    },
    close: () => closeSync(handle),
  };
}

function packsOf(dir: string, hashBytes: number): Pack[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch {
    return [];
  }
  return names
    .filter((name) => /^pack-[0-9a-f]+\.idx$/.test(name))
    .slice(0, MAX_PACKS)
    .flatMap((name) => Pack.open(join(dir, name.slice(0, -4)), hashBytes) ?? []);
}

interface Entry {
  readonly type: number;
  /** Of what `data` gives, in bytes. */
  readonly size: number;
  /** Of a delta: what it is made of, by its place in the pack or by its hash. */
  readonly base?: number | string;
  readonly data: () => Buffer;
}

/** A pack with its index; nothing of it is read but what is asked for. */
class Pack {
  readonly #index: OpenFile;
  readonly #pack: OpenFile;
  readonly #hashBytes: number;
  readonly #fanout: Buffer;

  private constructor(index: OpenFile, pack: OpenFile, hashBytes: number, fanout: Buffer) {
    this.#index = index;
    this.#pack = pack;
    this.#hashBytes = hashBytes;
    this.#fanout = fanout;
  }

  static open(path: string, hashBytes: number): Pack | undefined {
    const index = tryOpen(`${path}.idx`);
    const pack = index && tryOpen(`${path}.pack`);
    const head = index?.read(0, HEAD_BYTES);
    const isKnown =
      head?.length === HEAD_BYTES && head.readUInt32BE(0) === 0xff744f63 && head.readUInt32BE(4) === 2;
    if (index !== undefined && pack !== undefined && head !== undefined && isKnown)
      return new Pack(index, pack, hashBytes, head.subarray(8));
    index?.close();
    pack?.close();
    return undefined;
  }

  close(): void {
    this.#index.close();
    this.#pack.close();
  }

  /** Where an object begins: its hash is looked for by halves. */
  offsetOf(hash: string): number | undefined {
    const wanted = Buffer.from(hash, 'hex');
    const first = wanted[0] ?? 0;
    const count = this.#fanout.readUInt32BE(255 * 4);
    let low = first === 0 ? 0 : this.#fanout.readUInt32BE((first - 1) * 4);
    let high = this.#fanout.readUInt32BE(first * 4);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = wanted.compare(this.#index.read(HEAD_BYTES + middle * this.#hashBytes, this.#hashBytes));
      if (order === 0) return this.#offset(middle, count);
      if (order < 0) high = middle;
      else low = middle + 1;
    }
    return undefined;
  }

  #offset(i: number, count: number): number {
    const offsets = HEAD_BYTES + count * (this.#hashBytes + 4);
    const offset = this.#index.read(offsets + i * 4, 4).readUInt32BE(0);
    if (offset < 0x80000000) return offset;
    const large = offsets + count * 4 + (offset - 0x80000000) * 8;
    return Number(this.#index.read(large, 8).readBigUInt64BE(0));
  }

  entry(offset: number): Entry | undefined {
    const head = this.#pack.read(offset, 64);
    let at = 0;
    const next = () => head.readUInt8(at++);
    let byte = next();
    const type = (byte >> 4) & 7;
    let size = byte & 15;
    for (let shift = 4; (byte & 0x80) !== 0; shift += 7) {
      byte = next();
      size += (byte & 0x7f) * 2 ** shift;
    }
    if (size > MAX_OBJECT) return undefined;
    let base: number | string | undefined;
    if (type === OFS_DELTA) {
      byte = next();
      let back = byte & 0x7f;
      while ((byte & 0x80) !== 0) {
        byte = next();
        back = (back + 1) * 128 + (byte & 0x7f);
      }
      base = offset - back;
    } else if (type === REF_DELTA) {
      base = head.toString('hex', at, at + this.#hashBytes);
      at += this.#hashBytes;
    }
    const start = offset + at;
    const data = () => {
      // What is compressed may be a little longer than what it holds.
      const packed = this.#pack.read(start, size + (size >> 8) + 1024);
      const bytes = inflateSync(packed, { maxOutputLength: Math.max(1, size) });
      if (bytes.length !== size) throw new RangeError('an object of another size than it says');
      return bytes;
    };
    return { type, size, data, ...(base === undefined ? {} : { base }) };
  }
}

/** What a delta makes of its base; `spend` is told how much that will be. */
function patched(base: Buffer, delta: Buffer, spend: (bytes: number) => void): Buffer {
  let at = 0;
  const next = () => delta.readUInt8(at++);
  const size = () => {
    let value = 0;
    for (let shift = 0, byte = 0x80; (byte & 0x80) !== 0; shift += 7) {
      byte = next();
      value += (byte & 0x7f) * 2 ** shift;
    }
    return value;
  };
  if (size() !== base.length) throw new RangeError('a delta of another base');
  const wanted = size();
  if (wanted > MAX_OBJECT) throw new RangeError('too large');
  spend(wanted);
  const out = Buffer.alloc(wanted);
  let filled = 0;
  while (at < delta.length) {
    const op = next();
    if ((op & 0x80) !== 0) {
      let [from, length] = [0, 0];
      for (let i = 0; i < 4; i++) if ((op & (1 << i)) !== 0) from += next() * 2 ** (8 * i);
      for (let i = 0; i < 3; i++) if ((op & (0x10 << i)) !== 0) length += next() * 2 ** (8 * i);
      filled += base.copy(out, filled, from, from + (length === 0 ? 0x10000 : length));
    } else {
      if (op === 0) throw new RangeError('an instruction that there is not');
      filled += delta.copy(out, filled, at, at + op);
      at += op;
    }
  }
  if (filled !== wanted) throw new RangeError('a delta that does not fill its object');
  return out;
}
