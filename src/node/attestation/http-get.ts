import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { InterlockError } from '../../access/index.ts';

/** Where to ask, with what, and for how long. */
export interface GetOptions {
  /** Named in errors: "the kubelet". */
  readonly who: string;
  readonly url: URL;
  /** A Unix socket to ask through, for http. */
  readonly socketPath?: string | undefined;
  readonly token?: string | undefined;
  /** PEM certificates of the authorities; absent for the system's. */
  readonly ca?: string | undefined;
  /** The name that the certificate must have, where it is not the address's. */
  readonly serverName?: string | undefined;
  /** False to take any certificate. */
  readonly verify?: boolean | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly maxBytes: number;
  readonly timeoutMs: number;
}

/**
 * One GET, its whole answer as text; follows no redirect. Throws `unavailable` (does not answer, or not in time),
 * `not_found` (404), `forbidden` (401, 403), `limit` (longer than allowed).
 */
export async function get(options: GetOptions): Promise<string> {
  const { who, url, timeoutMs } = options;
  // Loaded when there is something to ask: a static import of node:http also loads all of fetch() and WebSocket, which
  // would be a tenth of the agent's start.
  const http = await (url.protocol === 'https:' ? import('node:https') : import('node:http'));
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const request = http.request(url, requestOptions(options));
  const fail = (error: unknown) => {
    reject(error instanceof InterlockError ? error : silent(who, error));
    request.destroy();
  };
  const timer = setTimeout(
    () => fail(new InterlockError('unavailable', who, `${who} gave no answer in ${timeoutMs} ms`)),
    timeoutMs,
  );
  request.on('error', fail);
  request.on('response', (response) => {
    read(response, options).then(resolve, fail);
  });
  request.end();
  return await promise.finally(() => clearTimeout(timer));
}

function requestOptions(options: GetOptions): RequestOptions {
  const { token, serverName, ca, cert, key, verify, socketPath } = options;
  return {
    method: 'GET',
    // A connection of its own: no session is resumed without its certificate being checked.
    agent: false,
    rejectUnauthorized: verify !== false,
    minVersion: 'TLSv1.2',
    headers: {
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(socketPath === undefined ? {} : { socketPath }),
  };
}

async function read(response: IncomingMessage, { who, maxBytes }: GetOptions): Promise<string> {
  const { statusCode = 0 } = response;
  if (statusCode === 404) throw new InterlockError('not_found', who, `${who} knows nothing of it`);
  if (statusCode === 401 || statusCode === 403) {
    throw new InterlockError('forbidden', who, `${who} refuses the agent: its answer was ${statusCode}`);
  }
  if (statusCode !== 200) throw new InterlockError('unavailable', who, `${who} answered ${statusCode}`);
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of response) {
    // No encoding was set: chunks are buffers.
    const bytes = chunk as Buffer;
    total += bytes.length;
    if (total > maxBytes)
      throw new InterlockError('limit', who, `${who} answered more than ${maxBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks, total).toString('utf8');
}

function silent(who: string, cause: unknown): InterlockError {
  const code =
    cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? ` (${cause.code})` : '';
  return new InterlockError('unavailable', who, `${who} cannot be asked${code}`, { cause });
}
