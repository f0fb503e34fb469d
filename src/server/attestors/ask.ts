import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { InterlockError } from '../../access/index.ts';

/** One question over HTTPS (or HTTP, which only addresses of this machine may have). */
export interface Question {
  readonly url: URL;
  /** JSON to POST; absent for a GET. */
  readonly body?: string | undefined;
  readonly bearer?: string | undefined;
  /** PEM of the authorities; the public ones where absent. */
  readonly ca?: string | undefined;
  readonly maxBytes?: number;
  /** For the whole answer, however slowly it comes. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

/** The answer, whatever its status; redirects are not followed. Throws `unavailable`, `limit`. */
export function ask({ url, body, bearer, ca, maxBytes, timeoutMs }: Question): Promise<Answer> {
  const limit = maxBytes ?? MAX_BYTES;
  const time = timeoutMs ?? TIMEOUT_MS;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  const call = request(url, {
    method: body === undefined ? 'GET' : 'POST',
    // A connection of its own: no session is resumed without its certificate being checked.
    agent: false,
    signal: AbortSignal.timeout(time),
    headers: {
      // Kubernetes gives its JWKS to nobody who does not name its own type (RFC 7517, section 8.5.2).
      accept: 'application/json, application/jwk-set+json',
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    },
    ...(ca === undefined ? {} : { ca }),
  });
  call.on('error', reject);
  call.on('response', (response) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else {
        reject(new InterlockError('limit', url.origin, `${url.origin} answers more than ${limit} bytes`));
        call.destroy();
      }
    });
    response.on('error', reject);
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
    );
  });
  call.end(body);
  return promise.catch((cause: unknown) => {
    throw cause instanceof InterlockError ? cause : silent(url, time, cause);
  });
}

function silent({ origin }: URL, time: number, cause: unknown): InterlockError {
  const code =
    cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  const why =
    code === 'ABORT_ERR'
      ? `gave no whole answer in ${time} ms`
      : `cannot be asked${code ? ` (${code})` : ''}`;
  return new InterlockError('unavailable', origin, `${origin} ${why}`, { cause });
}
