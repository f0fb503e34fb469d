import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { InterlockError } from '../access/index.ts';
import { readJoinToken } from '../identity/index.ts';
import { Option } from './command.ts';

/** More than any join token has, in bytes. */
const MAX_BYTES = 1024;
/** Everyone but the owner and the group, which a Kubernetes secret is given to by. */
const EVERYONE = 0o007;

/** The ways to give a join token. */
export interface JoinTokenOptions {
  readonly joinToken?: string;
  readonly joinTokenFile?: string;
}

/** `--join-token` and `--join-token-file`, for a command that needs one for `what`. */
export function joinTokenOptions(what: string): Option[] {
  return [
    new Option(
      '--join-token <token>',
      `${what}; other users of the machine may see it in the list of processes`,
    ).env('INTERLOCK_JOIN_TOKEN'),
    new Option('--join-token-file <file>', 'holds the join token; no file that everyone may read').conflicts(
      'joinToken',
    ),
  ];
}

/** How to get the join token when it is needed: a file may be gone once the token was used. Undefined where none is given. */
export function joinTokenOf({ joinToken, joinTokenFile }: JoinTokenOptions): (() => string) | undefined {
  if (joinTokenFile !== undefined) return () => readTokenFile(joinTokenFile);
  return joinToken === undefined ? undefined : () => joinToken;
}

/** The join token in a file. Throws `io` for a file that everyone may look into, `invalid_token` for another content. */
export function readTokenFile(file: string): string {
  const handle = opened(file);
  try {
    // Of what is open, so that no other file comes between the look and the reading.
    const { mode } = fstatSync(handle);
    if ((mode & EVERYONE) !== 0) {
      const now = (mode & 0o777).toString(8);
      throw new InterlockError(
        'io',
        file,
        `everyone may look into the join token's file ${file} (mode ${now}): run "chmod 600 ${file}"`,
      );
    }
    const bytes = Buffer.alloc(MAX_BYTES);
    const token = bytes.toString('latin1', 0, readSync(handle, bytes)).trim();
    readJoinToken(token);
    return token;
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    throw unreadable(file, cause);
  } finally {
    closeSync(handle);
  }
}

function opened(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: string, cause: unknown): InterlockError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new InterlockError('io', file, `the join token's file ${file} cannot be read: ${why}`, { cause });
}
