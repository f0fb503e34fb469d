import { InterlockError } from '../../access/index.ts';
import type { TokenReviewStatus } from '../../identity/index.ts';
import { type Answer, ask } from './ask.ts';
import { readText } from './fetch-text.ts';

/** A Kubernetes API server. */
export interface ApiServer {
  readonly url: string;
  /** PEM; the public authorities where absent. */
  readonly caFile?: string;
  /** Holds a token of an account with the right to ask; read at every question, since it is rotated. */
  readonly tokenFile?: string;
  /** For a whole answer; 10 s where absent. */
  readonly timeoutMs?: number;
}

const MAX_BYTES = 256 * 1024;
const REVIEW = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' } as const;

/** Asks a cluster itself about a token (authentication.k8s.io/v1 TokenReview). Throws `unavailable`, `io`, `limit`. */
export function tokenReview(
  server: ApiServer,
): (token: string, audience: string) => Promise<TokenReviewStatus> {
  return async (token, audience) => {
    const body = JSON.stringify({ ...REVIEW, spec: { token, audiences: [audience] } });
    const answer = await askServer(
      server,
      '/apis/authentication.k8s.io/v1/tokenreviews',
      'create TokenReviews (the role system:auth-delegator)',
      body,
    );
    const { apiVersion, kind, status } = fieldsOf(answer);
    if (
      apiVersion !== REVIEW.apiVersion ||
      kind !== REVIEW.kind ||
      typeof status !== 'object' ||
      status === null
    )
      throw new InterlockError('unavailable', server.url, `${server.url} did not answer with a TokenReview`);
    // The attestor takes every field of it as something that may be missing or wrong.
    return status;
  };
}

/** Gets the keys that a cluster signs its tokens with (the JWKS of its API server). Throws `unavailable`, `io`, `limit`. */
export function clusterKeys(server: ApiServer): () => Promise<unknown> {
  return async () =>
    fieldsOf(
      await askServer(
        server,
        '/openid/v1/jwks',
        'get /openid/v1/jwks (the role system:service-account-issuer-discovery)',
      ),
    );
}

async function askServer(server: ApiServer, path: string, right: string, body?: string): Promise<string> {
  const { url, caFile, tokenFile, timeoutMs } = server;
  const [bearer, ca] = await Promise.all([textOf(tokenFile), textOf(caFile)]);
  const answer = await ask({
    url: new URL(path, url),
    body,
    bearer: bearer?.trim(),
    ca,
    maxBytes: MAX_BYTES,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  const fault = faultOf(answer, right);
  if (fault === undefined) return answer.text;
  throw new InterlockError('unavailable', url, `the API server ${url} ${fault}`);
}

async function textOf(file: string | undefined): Promise<string | undefined> {
  return file === undefined ? undefined : readText(file);
}

/** What an answer other than a success means for whoever set the cluster up. */
function faultOf({ status }: Answer, right: string): string | undefined {
  if (status === 200 || status === 201) return undefined;
  if (status === 401) return `does not accept the control plane's own token (401)`;
  if (status === 403) return `does not let the control plane's account ${right} (403)`;
  return `answered ${status}`;
}

function fieldsOf(json: string): Readonly<Record<string, unknown>> {
  let data: unknown;
  try {
    data = JSON.parse(json);
  } catch {
    data = undefined;
  }
  // Shown to be an object; its fields are checked where they are used.
  if (typeof data === 'object' && data !== null) return data as Record<string, unknown>;
  throw new InterlockError('unavailable', 'API server', 'the API server did not answer with JSON');
}
