import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { InterlockError, isInterlockError } from '../../access/index.ts';

const KEY_BYTES = 32;
/** 32 bytes as base64. */
const LINE = /^[A-Za-z0-9+/]{43}=$/;
const MAX_FILE = 4096;
/** While one takes the place of another there are two; more is room for mistakes. */
const MAX_KEYS = 16;
/** Anybody else's rights, and the group's to change it: secrets that an orchestrator mounts are their group's to read. */
const TOO_OPEN = 0o037;

/** A key that others are sealed with. */
export interface SealingKey {
  /** Names it and says nothing of it: 64 bits of an HMAC under it, hex. */
  readonly id: string;
  readonly key: KeyObject;
}

/** The keys of a file: keys are sealed anew under the first, and what any of them has sealed is opened. */
export type SealingKeys = readonly [SealingKey, ...SealingKey[]];

/** A secret key of 32 bytes with its name. */
export function sealingKey(key: KeyObject): SealingKey {
  const id = createHmac('sha256', key).update('interlock sealing key').digest('hex').slice(0, 16);
  return { id, key };
}

/** Makes the key that others are sealed with: 32 random bytes, base64, for the file's owner. Throws `conflict` where there is a file, `io`. */
export function makeKeyFile(file: string): void {
  write(file, [newLine()], file);
}

/** Puts a new key before those of a file, and gives its ID: the next reseal is to it. Throws as reading does, `limit`, `io`. */
export function addKey(file: string): string {
  const keys = readKeyFile(file);
  if (keys.length >= MAX_KEYS)
    throw new InterlockError('limit', file, `${file} holds ${MAX_KEYS} keys: remove those that seal nothing`);
  const line = newLine();
  replace(file, [line, ...keys.map(({ key }) => lineOf(key))]);
  return sealingKey(createSecretKey(Buffer.from(line, 'base64'))).id;
}

/** Takes a key out of a file. Throws `not_found`, `usage` for the last one, and as reading does. */
export function removeKey(file: string, id: string): void {
  const keys = readKeyFile(file);
  const left = keys.filter((each) => each.id !== id);
  if (left.length === keys.length)
    throw new InterlockError(
      'not_found',
      id,
      `${file} holds no key ${id}: it holds ${keys.map((each) => each.id).join(', ')}`,
    );
  if (left.length === 0)
    throw new InterlockError('usage', file, `${id} is the only key in ${file}: remove the file instead`);
  replace(
    file,
    left.map(({ key }) => lineOf(key)),
  );
}

/**
 * Reads the keys of a file: one on a line, and lines that begin with # between them. Throws `not_found`, `io`, `state` (others
 * may read it), `usage` (it holds none, or something else). No error quotes it.
 */
export function readKeyFile(file: string): SealingKeys {
  let text: string;
  try {
    const stat = statSync(file);
    const mode = stat.mode & 0o777;
    if ((mode & TOO_OPEN) !== 0)
      throw new InterlockError(
        'state',
        file,
        `others may read or change ${file} (its mode is ${mode.toString(8).padStart(4, '0')}): whoever has it and the database has every key; chmod 0600 ${file}`,
      );
    text = stat.size > MAX_FILE ? '' : readFileSync(file, 'latin1');
  } catch (error) {
    throw failure(file, error, 'read');
  }
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const read = lines.map((line) => (LINE.test(line) ? Buffer.from(line, 'base64') : Buffer.alloc(0)));
  const [first, ...rest] = read.map((bytes) =>
    bytes.length === KEY_BYTES ? createSecretKey(bytes) : undefined,
  );
  if (first === undefined || rest.includes(undefined) || read.length > MAX_KEYS)
    throw new InterlockError(
      'usage',
      file,
      `${file} holds no key, or something else: a key is one line of 32 bytes in base64, as "interlock authority key-file ${file}" makes it; at most ${MAX_KEYS} of them`,
    );
  return [sealingKey(first), ...rest.flatMap((key) => (key === undefined ? [] : [sealingKey(key)]))];
}

const newLine = () => randomBytes(KEY_BYTES).toString('base64');
const lineOf = (key: KeyObject) => key.export().toString('base64');

/** Another content, whole or not at all; who may read it stays. */
function replace(file: string, lines: readonly string[]): void {
  const { mode, uid, gid } = statSync(file);
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  write(draft, lines, file, { mode: mode & 0o777, uid, gid });
  try {
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw failure(file, error, 'written');
  }
}

function write(
  path: string,
  lines: readonly string[],
  named: string,
  owner?: { readonly mode: number; readonly uid: number; readonly gid: number },
): void {
  let isOurs = false;
  try {
    const handle = openSync(path, 'wx', 0o600);
    isOurs = true;
    try {
      writeFileSync(handle, lines.map((line) => `${line}\n`).join(''));
      if (owner !== undefined) {
        if (process.getuid?.() === 0) fchownSync(handle, owner.uid, owner.gid);
        fchmodSync(handle, owner.mode);
      }
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    if (isOurs) rmSync(path, { force: true });
    if (codeOf(error) === 'EEXIST')
      throw new InterlockError(
        'conflict',
        named,
        `${named} is there already: it is not written over; --add puts a new key into it`,
      );
    throw failure(named, error, 'written');
  }
}

function failure(file: string, error: unknown, done: string): Error {
  if (isInterlockError(error)) return error;
  const code = codeOf(error);
  if (code === 'ENOENT') {
    const text =
      done === 'read'
        ? `there is no ${file}: "interlock authority key-file" makes a key`
        : `there is no directory for ${file}: make it first`;
    return new InterlockError('not_found', file, text);
  }
  return new InterlockError('io', file, `${file} could not be ${done} (${code ?? 'unknown'})`);
}

const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined;
