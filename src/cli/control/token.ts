import { homedir } from 'node:os';
import { join } from 'node:path';
import { InterlockError } from '../../access/index.ts';

/** A token for machines, such as CI runners, that sign in by themselves. */
const TOKEN_VARIABLE = 'INTERLOCK_TOKEN';
/** A file that something else renews, read for each call: for what runs longer than a token lives. */
const TOKEN_FILE_VARIABLE = 'INTERLOCK_TOKEN_FILE';
const MAX_TOKEN_FILE = 64 * 1024;
/** A token is renewed so long before it ends: a call takes its time. Milliseconds. */
const EARLY_MS = 30_000;

/** Where `interlock sign-in` keeps what it got: `{ "ORIGIN": { "token": "..." } }`, for its owner alone. */
export function signInFile(): string {
  const base = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config');
  return join(base, 'interlock', 'sign-in.json');
}

/** The token for a control plane, or undefined where nobody signed in to it. Throws `forbidden` for a file that others may read, `not_found`, `io`. */
export async function bearerToken(server: URL): Promise<string | undefined> {
  const given = process.env[TOKEN_VARIABLE];
  if (given !== undefined && given !== '') return given;
  const kept = process.env[TOKEN_FILE_VARIABLE];
  if (kept !== undefined && kept !== '') return tokenIn(kept);
  const file = signInFile();
  const { keepSignIn, readSignIns } = await import('./sign-in.ts');
  const known = readSignIns(file).get(server.origin);
  if (known?.expiresAt === undefined || known.expiresAt > Date.now() + EARLY_MS) return known?.token;
  const { refreshed } = await import('./device.ts');
  const next = await refreshed(known);
  // The control plane says that the old one has ended, and what to do.
  if (next === undefined) return known.token;
  keepSignIn(file, server.origin, next);
  return next.token;
}

async function tokenIn(file: string): Promise<string> {
  const { readText } = await import('../files.ts');
  const token = readText(file).trim();
  // What is no token must be in no error either.
  if (/^[\x21-\x7e]+$/.test(token) && token.length <= MAX_TOKEN_FILE) return token;
  throw new InterlockError('usage', file, `${file}, named by ${TOKEN_FILE_VARIABLE}, holds no token`);
}
