import { createPrivateKey, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { keyIdOf, spkiOf } from '../../identity/index.ts';
import { KEY_ID, type KeyVault } from './key-vault.ts';

/** Folder of the private keys inside the state directory. */
export const KEYS_DIRECTORY = 'keys';
/** The largest key file that is read: an ML-DSA-65 key has 5.6 KiB as PEM. */
const MAX_KEY_FILE = 64 * 1024;

/**
 * The private keys of the authorities: `STATE/keys/KEYID.pem`, PKCS#8, for their owner alone. A key appears whole
 * or not at all, and one that others can read is refused. Errors: `io`, `not_found`, `state` (open to others,
 * damaged, not the key that its name says). No error holds a part of a key.
 */
export class FileVault implements KeyVault {
  readonly #dir: string;

  constructor(stateDirectory: string) {
    this.#dir = join(stateDirectory, KEYS_DIRECTORY);
  }

  /** Keeps a key, durably, and gives its key ID. */
  async put(key: KeyObject): Promise<string> {
    const keyId = keyIdOf(spkiOf(key));
    const draft = join(this.#dir, `.${keyId}.${process.pid}.tmp`);
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      await this.#refuseOpen(this.#dir, 'directory');
      await rm(draft, { force: true });
      const file = await open(draft, 'wx', 0o600);
      try {
        await file.writeFile(key.export({ type: 'pkcs8', format: 'pem' }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, this.#file(keyId));
      await syncDirectory(this.#dir);
      return keyId;
    } catch (error) {
      // It may hold a part of the key, on a full disk say.
      await rm(draft, { force: true });
      throw this.#failure(this.#file(keyId), error);
    }
  }

  /** The key of this ID. */
  async get(keyId: string): Promise<KeyObject> {
    const path = this.#file(keyId);
    let pem: Buffer;
    try {
      await this.#refuseOpen(this.#dir, 'directory');
      await this.#refuseOpen(path, 'file');
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        if ((await file.stat()).size > MAX_KEY_FILE) throw damaged(path, 'it is too long');
        pem = await file.readFile();
      } finally {
        await file.close();
      }
    } catch (error) {
      throw this.#failure(path, error);
    }
    const key = keyOf(path, pem);
    if (keyIdOf(spkiOf(key)) !== keyId) throw damaged(path, 'it holds another key than its name says');
    return key;
  }

  /** Whether there is a key of this ID. */
  async has(keyId: string): Promise<boolean> {
    return (await this.list()).includes(keyId);
  }

  /** The IDs of all keys. */
  async list(): Promise<string[]> {
    try {
      const names = await readdir(this.#dir);
      return names
        .flatMap((name) => (name.endsWith('.pem') ? [name.slice(0, -4)] : []))
        .filter((id) => KEY_ID.test(id));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw this.#failure(this.#dir, error);
    }
  }

  /** Takes a key away; one that is not there is no error. */
  async remove(keyId: string): Promise<void> {
    try {
      await rm(this.#file(keyId), { force: true });
    } catch (error) {
      throw this.#failure(this.#file(keyId), error);
    }
  }

  #file(keyId: string): string {
    if (!KEY_ID.test(keyId)) throw new TypeError('a key ID is 40 lower-case hex digits');
    return join(this.#dir, `${keyId}.pem`);
  }

  /** Keys that others can read are as good as lost: refused, so that somebody looks. */
  async #refuseOpen(path: string, what: 'directory' | 'file'): Promise<void> {
    const stat = await lstat(path);
    if (what === 'file' ? !stat.isFile() : !stat.isDirectory()) throw damaged(path, `it is no ${what}`);
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
      const right = what === 'file' ? '0600' : '0700';
      throw new InterlockError(
        'state',
        path,
        `the mode of ${path} is ${mode}, so others may have read the keys: find out who could, rotate the authority if in doubt, and set it to ${right} (chmod ${right} ${path})`,
      );
    }
  }

  #failure(path: string, error: unknown): Error {
    if (isInterlockError(error)) return error;
    const code = codeOf(error);
    if (code === 'ENOENT') {
      return new InterlockError(
        'not_found',
        path,
        `there is no private key in ${path}: put it back, or prepare a new authority`,
      );
    }
    return new InterlockError('io', path, `${path} could not be used (${code ?? 'unknown'})`, {
      cause: error,
    });
  }
}

function keyOf(path: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause may quote the key: it goes nowhere.
    throw damaged(path, 'it is no private key');
  }
}

function damaged(path: string, why: string): InterlockError {
  return new InterlockError('state', path, `${path} cannot be used as a key: ${why}`);
}

/** Makes a rename survive a power cut. */
async function syncDirectory(path: string): Promise<void> {
  const dir = await open(path, constants.O_RDONLY);
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined;
