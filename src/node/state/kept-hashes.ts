import { readFileSync } from 'node:fs';
import type { HashStore } from '../attestation/executable.ts';
import { PrivateFiles } from './private-files.ts';

const FILE = 'executables.json';
const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const MAX_KEPT = 4096;

/**
 * Hashes of executables across restarts of the agent: the first answer after one need not wait for a hundred megabytes
 * to be read. They hold for one start of the machine: a device number may mean another file system after the next.
 */
export class KeptHashes implements HashStore {
  readonly #files: PrivateFiles;
  readonly #boot: string | undefined;
  readonly #onFault: (error: unknown) => void;

  /** `boot` tells one start of the machine from another. Throws `io` where the directory cannot be used. */
  constructor(dir: string, onFault: (error: unknown) => void, boot: string | undefined = bootId()) {
    this.#files = new PrivateFiles(dir);
    this.#boot = boot;
    this.#onFault = onFault;
  }

  load(): Map<string, string> {
    const hashes = new Map<string, string>();
    if (this.#boot === undefined) return hashes;
    try {
      const text = this.#files.read(FILE);
      if (text === undefined) return hashes;
      // Each field is checked as it is used.
      const { boot, of } = JSON.parse(text) as { boot?: unknown; of?: unknown };
      if (boot !== this.#boot || !Array.isArray(of)) return hashes;
      for (const pair of of.slice(-MAX_KEPT)) {
        const [key, hash] = Array.isArray(pair) ? (pair as unknown[]) : [];
        if (typeof key === 'string' && typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash))
          hashes.set(key, hash);
      }
    } catch (error) {
      this.#onFault(error);
    }
    return hashes;
  }

  save(hashes: ReadonlyMap<string, string>): void {
    if (this.#boot === undefined) return;
    try {
      this.#files.write(FILE, JSON.stringify({ boot: this.#boot, of: [...hashes].slice(-MAX_KEPT) }));
    } catch (error) {
      // They are worked out anew after a restart.
      this.#onFault(error);
    }
  }
}

/** A random number that the kernel draws at each start (random(4)); undefined where it cannot be read. */
function bootId(): string | undefined {
  try {
    return readFileSync(BOOT_ID, 'utf8').trim();
  } catch {
    return undefined;
  }
}
