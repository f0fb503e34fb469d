import { readFileSync, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { InterlockError } from '../../access/index.ts';

/** Schema that holds the tables where the URL does not name one. */
const DEFAULT_SCHEMA = 'interlock';
/** Identifiers that need no quotes, and leave room in PostgreSQL's 63 bytes for what is made of them. */
const SCHEMA = /^[a-z_][a-z0-9_]{0,39}$/;
const ESCAPES =
  'in its user and password write # as %23, / as %2F, ? as %3F and @ as %40, or give the password in a file that PGPASSFILE names';
const PARAMETERS = new Set(['host', 'schema', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey']);
const MAX_PASSFILE = 1_000_000;

/** Where a database is and how it is reached. The password is asked for at every connection, and kept nowhere. */
export interface Address {
  /** For people and for errors: never holds a password. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly schema: string;
  readonly ssl: ConnectionOptions | false;
  readonly password: () => Promise<string>;
}

/**
 * Reads `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE?sslmode=verify-full&...` with libpq's words for its parameters:
 * host (the directory of a Unix socket), sslmode, sslrootcert, sslcert, sslkey; and `schema`. Without sslmode a server
 * beyond this machine is verified in full. A mode that would encrypt without knowing to whom is refused: whoever
 * answers is handed the password. Errors: `usage`, `not_found` and `io` for a certificate's file.
 */
export function parseAddress(text: string, environment: NodeJS.ProcessEnv = process.env): Address {
  // With a socket's directory as a parameter the host may be left out, which a URL with a user must not do.
  const whole = text.replace(/^(postgres(?:ql)?:\/\/[^/?#]*@)(?=[/:?]|$)/, '$1localhost');
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol))
    throw misused(`a database is named as postgres://USER@HOST/DATABASE; this is not such a URL: ${ESCAPES}`);
  // Of a password that is not escaped a part would be taken for a host, a database or nothing at all, and be shown as such.
  if (url.hash !== '' || url.pathname.includes('@'))
    throw misused(`the database URL cannot be taken apart: ${ESCAPES}`);
  for (const [key] of url.searchParams) {
    if (!PARAMETERS.has(key) || url.searchParams.getAll(key).length > 1)
      throw misused(
        // What is no such word may be the end of a password with a "?" in it.
        `the database URL's parameter${/^[a-z_]{1,30}$/.test(key) ? ` ${key}` : ''} is not one of ${[...PARAMETERS].join(', ')}, once each`,
      );
  }
  const parameter = (name: string) => url.searchParams.get(name) ?? undefined;
  const host = parameter('host') ?? (decoded(url.hostname).replace(/^\[(.*)\]$/, '$1') || 'localhost');
  const user = decoded(url.username) || userInfo().username;
  const database = decoded(url.pathname.slice(1)) || user;
  const port = Number(url.port || 5432);
  const schema = parameter('schema') ?? DEFAULT_SCHEMA;
  if (!SCHEMA.test(schema))
    throw misused(`a schema is named with up to 40 lower-case letters, digits and _; ${schema} is not`);
  const place = { host, port, database, user };
  const given = decoded(url.password);
  return {
    ...place,
    schema,
    name: host.startsWith('/') ? `${database} at ${host}` : `${database} at ${host}:${port}`,
    ssl: tlsOf(host, parameter),
    password: async () => given || passwordFromFile(place, environment),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw misused('a % in the database URL is not followed by two hexadecimal digits: write it as %25');
  }
}

const isHere = (host: string) =>
  host.startsWith('/') || host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);

function tlsOf(host: string, parameter: (name: string) => string | undefined): ConnectionOptions | false {
  const mode = parameter('sslmode') ?? (isHere(host) ? 'disable' : 'verify-full');
  const root = parameter('sslrootcert');
  switch (mode) {
    case 'disable':
      return false;
    case 'verify-full':
      break;
    case 'verify-ca':
    case 'require':
      if (root !== undefined) break;
      throw misused(
        `sslmode=${mode} without sslrootcert=FILE does not verify who answers: use sslmode=verify-full`,
      );
    default:
      throw misused(
        `sslmode=${mode} would go on in plain text: use verify-full, or disable if the network is trusted`,
      );
  }
  const [cert, key] = [parameter('sslcert'), parameter('sslkey')];
  return {
    minVersion: 'TLSv1.2',
    ...(root === undefined || root === 'system' ? {} : { ca: contentOf(root) }),
    ...(cert === undefined ? {} : { cert: contentOf(cert) }),
    ...(key === undefined ? {} : { key: contentOf(key) }),
    // With a root of one's own, `verify-ca` and `require` take any name (libpq's table of modes).
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  };
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const gone = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw new InterlockError(
      gone ? 'not_found' : 'io',
      file,
      `${file}, named in the database URL, cannot be read`,
      {
        cause,
      },
    );
  }
}

/** `PGPASSFILE`, or ~/.pgpass: a line `host:port:database:user:password`, `*` for any (libpq, "The Password File"). */
function passwordFromFile(
  place: Pick<Address, 'host' | 'port' | 'database' | 'user'>,
  environment: NodeJS.ProcessEnv,
): string {
  const file = environment['PGPASSFILE'] ?? join(homedir(), '.pgpass');
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true || stat.size > MAX_PASSFILE)
    throw misused(`the database asks for a password: give it in a file that PGPASSFILE names, or in the URL`);
  if ((stat.mode & 0o077) !== 0)
    throw new InterlockError(
      'forbidden',
      file,
      `${file} may be read by others: chmod 600 it, then it is used`,
    );
  const { host, port, database, user } = place;
  // A Unix socket's directory is looked up under its own name and as localhost.
  const hosts = host.startsWith('/') ? [host, 'localhost'] : [host];
  for (const line of contentOf(file).split(/\r?\n/)) {
    const [, h = '', p = '', d = '', u = '', given] = LINE.exec(line) ?? [];
    const fits = (field: string, ...values: readonly string[]) =>
      field === '*' || values.includes(unescaped(field));
    const isComment = line.startsWith('#');
    if (
      given !== undefined &&
      !isComment &&
      fits(h, ...hosts) &&
      fits(p, String(port)) &&
      fits(d, database) &&
      fits(u, user)
    )
      return unescaped(given);
  }
  throw misused(`${file} has no line for ${user} at ${host}:${port}, database ${database}`);
}

/** Four fields, each up to a colon that no backslash stands before, and the rest. */
const LINE = /^((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):(.*)$/;
const unescaped = (field: string) => field.replace(/\\(.)/g, '$1');

const misused = (message: string) => new InterlockError('usage', 'database', message);
