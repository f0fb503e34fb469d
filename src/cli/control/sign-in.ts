import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';

/** Largest answer and file that are read, characters. */
const MAX_TEXT = 256 * 1024;

const entry = z.looseObject({
  token: z.string(),
  /** Milliseconds since 1970. */
  expiresAt: z.number().optional(),
  refreshToken: z.string().optional(),
  issuer: z.string().optional(),
  clientId: z.string().optional(),
});
const file = z.record(z.string(), entry);

/** What `interlock sign-in` keeps of one control plane. */
export type SignedIn = z.output<typeof entry>;

/** What is kept, by the origin of each control plane. Throws `forbidden` for a file that others may read. */
export function readSignIns(path: string): Map<string, SignedIn> {
  let text: string;
  try {
    if ((statSync(path).mode & 0o077) !== 0)
      throw new InterlockError('forbidden', path, `others may read ${path}: chmod 0600 ${path}`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof InterlockError) throw error;
    return new Map();
  }
  try {
    const parsed = file.safeParse(text.length > MAX_TEXT ? undefined : JSON.parse(text));
    return new Map(parsed.success ? Object.entries(parsed.data) : []);
  } catch {
    // Not ours any more: the next sign-in writes it anew.
    return new Map();
  }
}

/** Keeps one, or forgets it where it is undefined: for the owner alone, and whole whatever happens. Throws `io`. */
export function keepSignIn(path: string, origin: string, signedIn: SignedIn | undefined): void {
  const all = readSignIns(path);
  if (signedIn === undefined) all.delete(origin);
  else all.set(origin, signedIn);
  const next = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(next, `${JSON.stringify(Object.fromEntries(all), undefined, 2)}\n`, {
      mode: 0o600,
      flag: 'wx',
    });
    renameSync(next, path);
  } catch (cause) {
    rmSync(next, { force: true });
    throw new InterlockError('io', path, `${path} cannot be written: ${String(cause)}`, { cause });
  }
}

const ways = z.looseObject({
  cli: z.looseObject({ issuer: z.string(), clientId: z.string(), scopes: z.array(z.string()) }).optional(),
});

/** How the command line signs in to a control plane, as that says it. Throws `unavailable`; `not_found` where there is no way. */
export async function wayIn(
  server: URL,
): Promise<{ issuer: URL; clientId: string; scopes: readonly string[] }> {
  let text: string;
  try {
    const answer = await fetch(new URL('/v1/sign-in', server), {
      redirect: 'error',
      signal: AbortSignal.timeout(10_000),
    });
    text = await answer.text();
  } catch (cause) {
    throw new InterlockError('unavailable', server.origin, `${server.origin} does not answer`, { cause });
  }
  const parsed = ways.safeParse(text.length > MAX_TEXT ? undefined : jsonOf(text));
  if (!parsed.success)
    throw new InterlockError(
      'unavailable',
      server.origin,
      `${server.origin} is no control plane, or of another version`,
    );
  const { cli } = parsed.data;
  if (cli === undefined)
    throw new InterlockError(
      'not_found',
      server.origin,
      `${server.origin} has no provider for the command line ("cli" in its --sign-in): use INTERLOCK_TOKEN, or --state on its machine`,
    );
  return { ...cli, issuer: safeIssuer(cli.issuer) };
}

/** The control plane names the provider: a token is asked for over https alone, or on this machine. */
function safeIssuer(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHere = url?.protocol === 'http:' && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname);
  if (url !== undefined && (url.protocol === 'https:' || isHere)) return url;
  throw new InterlockError(
    'untrusted',
    text.slice(0, 200),
    `the provider ${text.slice(0, 200)} is no https address`,
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
