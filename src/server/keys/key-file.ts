import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { InterlockError, isInterlockError } from '../../access/index.ts';

const KEY_BYTES = 32;
/** 32 bytes as base64, and the end of the line. */
const LINE = /^[A-Za-z0-9+/]{43}=\r?\n?$/;
const MAX_FILE = 1024;
/** Anybody else's rights, and the group's to change it: secrets that an orchestrator mounts are their group's to read. */
const TOO_OPEN = 0o037;

/** Makes the key that others are sealed with: 32 random bytes, base64, for the file's owner. Throws `conflict` where there is a file, `io`. */
export function makeKeyFile(file: string): void {
  let isOurs = false;
  try {
    const handle = openSync(file, 'wx', 0o600);
    isOurs = true;
    try {
      writeFileSync(handle, `${randomBytes(KEY_BYTES).toString('base64')}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    if (isOurs) rmSync(file, { force: true });
    if (codeOf(error) === 'EEXIST')
      throw new InterlockError('conflict', file, `${file} is there already: it is not written over`);
    throw failure(file, error, 'written');
  }
}

/** Reads it. Throws `not_found`, `io`, `state` (others may read it), `usage` (it is no such key). No error quotes it. */
export function readKeyFile(file: string): KeyObject {
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
  const key = LINE.test(text) ? Buffer.from(text, 'base64') : undefined;
  if (key?.length === KEY_BYTES) return createSecretKey(key);
  throw new InterlockError(
    'usage',
    file,
    `${file} holds no key: it is one line of 32 bytes in base64, as "interlock authority key-file ${file}" makes it`,
  );
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
