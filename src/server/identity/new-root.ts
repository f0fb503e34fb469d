import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  BACK_DATE_MS,
  type Certificate,
  certificateToPem,
  generateKey,
  issueAuthority,
  signerOf,
} from '../../identity/index.ts';
import { FileVault, KEYS_DIRECTORY } from '../keys/file-vault.ts';
import type { Domain } from './domain.ts';
import { ROOT_FILE, signWithRoot } from './offline-root.ts';
import { random } from './signing-keys.ts';

/** A root that is being made in a directory of its own. */
export interface NewRoot {
  /** Signs the request of an authority (PKCS#10, DER); the new certificate, then the root. `ttl` is milliseconds. */
  sign(csr: Buffer, ttl: number): Promise<Certificate[]>;
  /** Writes its certificate: from now on there is a root in the directory. Throws `io`. */
  keep(): void;
  /** Takes away all that was made for it, and nothing that was there before. */
  remove(): Promise<void>;
}

/** Makes the key and the certificate of a root; it counts once it is kept. Throws `conflict` where one is, `io`. */
export async function makeRoot(dir: string, domain: Domain, ttl: number, now: number): Promise<NewRoot> {
  const file = join(dir, ROOT_FILE);
  if (existsSync(file))
    throw new InterlockError(
      'conflict',
      dir,
      `there is a root in ${dir} already: choose another directory, or remove it if nothing uses it`,
    );
  const key = generateKey(domain.algorithm);
  const vault = new FileVault(dir);
  const made = missing([join(dir, KEYS_DIRECTORY), ...upwards(dir)]);
  let keyId: string | undefined;
  let isKept = false;
  const remove = async () => {
    if (isKept) rmSync(file, { force: true });
    if (keyId !== undefined) await vault.remove(keyId);
    for (const each of made) removeEmpty(each);
  };
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    keyId = await vault.put(key);
    const root = await issueAuthority({
      trustDomain: domain.trustDomain,
      notBefore: now - BACK_DATE_MS,
      notAfter: now + ttl,
      signer: signerOf(key),
      random,
    });
    return {
      sign: (csr, ttl) => signWithRoot(root, key, { csr, ttl, now }),
      keep() {
        writeNew(file, certificateToPem(root.der));
        isKept = true;
      },
      remove,
    };
  } catch (error) {
    await remove();
    throw failure(dir, error);
  }
}

/** A directory and those above it, the deepest first. */
function upwards(dir: string): string[] {
  const all = [resolve(dir)];
  for (let above = dirname(resolve(dir)); above !== all.at(-1); above = dirname(above)) all.push(above);
  return all;
}

const missing = (paths: readonly string[]) => paths.filter((path) => !existsSync(path));

function removeEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // It was never made, or holds something else by now.
  }
}

/** The whole file or none, durably: a root that is lost to a power cut cannot be made again. */
function writeNew(file: string, text: string): void {
  let isOurs = false;
  try {
    const handle = openSync(file, 'wx', 0o644);
    isOurs = true;
    try {
      writeFileSync(handle, text);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    if (isOurs) rmSync(file, { force: true });
    throw failure(file, error);
  }
}

function failure(path: string, error: unknown): unknown {
  if (isInterlockError(error) || !(error instanceof Error) || !('code' in error)) return error;
  return new InterlockError('io', path, `${path} could not be written (${String(error.code)})`, {
    cause: error,
  });
}
