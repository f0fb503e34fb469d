import type { KeyObject } from 'node:crypto';
import { statSync } from 'node:fs';
import { readKeyFile, type SealingKey, type SealingKeys } from './key-file.ts';
import { seal, unseal } from './sealing.ts';

/** Between the ID of the key and what it has sealed; no sign of base64. */
const MARK = '.';

/**
 * The keys of a key file as they are now: the file is read again once it is another one, so that keys come and go while a
 * control plane runs. A key that this process has once read opens what it has sealed until it ends.
 */
export class KeyRing {
  readonly file: string;
  readonly #seen = new Map<string, KeyObject>();
  #keys: SealingKeys;
  #print: string;

  /** Throws as `readKeyFile` does. */
  constructor(file: string) {
    this.file = file;
    this.#print = printOf(file);
    this.#keys = this.#read();
  }

  /** Those of the file now; of one that cannot be read now, those that it had. */
  get keys(): SealingKeys {
    this.#follow();
    return this.#keys;
  }

  get ids(): string[] {
    return this.keys.map(({ id }) => id);
  }

  /** Those of the file now. Throws as `readKeyFile` does. */
  reread(): SealingKeys {
    this.#print = printOf(this.file);
    return (this.#keys = this.#read());
  }

  /** What names the key that has sealed something; undefined for what an earlier program has sealed. */
  static idOf(sealed: string): string | undefined {
    const at = sealed.indexOf(MARK);
    return at < 0 ? undefined : sealed.slice(0, at);
  }

  static seal({ id, key }: SealingKey, name: string, plain: Buffer): string {
    return `${id}${MARK}${seal(key, name, plain)}`;
  }

  /** What was sealed under this very name, and by which key; undefined where none of the keys has. */
  open(name: string, sealed: string): { readonly id: string; readonly plain: Buffer } | undefined {
    const id = KeyRing.idOf(sealed);
    this.#follow();
    for (const [known, key] of this.#seen) {
      if (id !== undefined && id !== known) continue;
      const plain = unseal(key, name, id === undefined ? sealed : sealed.slice(id.length + 1));
      if (plain !== undefined) return { id: known, plain };
    }
    return undefined;
  }

  /** A key by its ID, whether the file still holds it or not. */
  of(id: string): SealingKey | undefined {
    this.#follow();
    const key = this.#seen.get(id);
    return key && { id, key };
  }

  #follow(): void {
    const print = printOf(this.file);
    if (print !== this.#print) {
      try {
        this.#keys = this.#read();
        this.#print = print;
      } catch {
        // Half written, or away while it is replaced: `reread` says what is wrong with it.
      }
    }
  }

  #read(): SealingKeys {
    const keys = readKeyFile(this.file);
    for (const { id, key } of keys) this.#seen.set(id, key);
    return keys;
  }
}

function printOf(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch {
    return '';
  }
}
