import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { InterlockError } from '../../access/index.ts';
import type { TokenReviewStatus } from '../../identity/index.ts';

/** A Kubernetes API server that may be asked about tokens. */
export interface ApiServer {
  readonly url: string;
  /** PEM; the public authorities where absent. */
  readonly caFile?: string;
  /** Holds a token of an account that may create TokenReviews; read at every question, since it is rotated. */
  readonly tokenFile: string;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 256 * 1024;

/** Asks a cluster itself about a token (authentication.k8s.io/v1 TokenReview). Throws `unavailable`. */
export function tokenReview(
  server: ApiServer,
): (token: string, audience: string) => Promise<TokenReviewStatus> {
  return async (token, audience) => {
    const [own, ca] = await Promise.all([
      readFile(server.tokenFile, 'utf8'),
      server.caFile === undefined ? undefined : readFile(server.caFile, 'utf8'),
    ]).catch((cause: unknown) => {
      throw new InterlockError('io', server.tokenFile, 'the credentials for the API server cannot be read', {
        cause,
      });
    });
    const body = JSON.stringify({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [audience] },
    });
    const answer = await post(
      new URL('/apis/authentication.k8s.io/v1/tokenreviews', server.url),
      own.trim(),
      ca,
      body,
    );
    const data: unknown = JSON.parse(answer);
    const status = typeof data === 'object' && data !== null && 'status' in data ? data.status : undefined;
    // The attestor takes every field of it as something that may be missing or wrong.
    if (typeof status === 'object' && status !== null) return status;
    throw new InterlockError('unavailable', server.url, `${server.url} answered without a status`);
  };
}

function post(url: URL, bearer: string, ca: string | undefined, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) =>
      reject(
        new InterlockError('unavailable', url.origin, `the API server ${url.origin} does not answer`, {
          cause,
        }),
      );
    const call = request(
      url,
      {
        method: 'POST',
        timeout: TIMEOUT_MS,
        agent: false,
        headers: {
          authorization: `Bearer ${bearer}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
        ...(ca === undefined ? {} : { ca }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_BYTES) call.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('error', fail);
        response.on('end', () => {
          if (response.statusCode === 200 || response.statusCode === 201)
            resolve(Buffer.concat(chunks).toString());
          else fail(new Error(`status ${response.statusCode}`));
        });
      },
    );
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', fail);
    call.end(body);
  });
}
