import { readFileSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import { answerChallenge, certificatesFromPem, readJoinToken } from '../../identity/index.ts';
import type { NodeEvidence } from '../link/transport.ts';

/** A token or certificate is never as large. */
const MAX_BYTES = 256 * 1024;
/** How long a provider of tokens may take. */
const TOKEN_MS = 10_000;

/** A join token, good for one attestation. One that is to be read from somewhere is read when it is needed. */
export function joinTokenEvidence(token: string | (() => string)): NodeEvidence {
  if (typeof token === 'string') readJoinToken(token);
  const read = () => (typeof token === 'string' ? token : token());
  return { attestor: 'join_token', once: true, payload: async () => Buffer.from(read()) };
}

/** The projected service-account token of the agent's pod: read anew each time, because the kubelet replaces it. */
export function kubernetesEvidence(cluster: string, tokenFile: string): NodeEvidence {
  return {
    attestor: 'k8s_psat',
    payload: async () => Buffer.from(JSON.stringify({ cluster, token: readText(tokenFile).trim() })),
  };
}

/** A certificate with its key, both PEM, that the node has from elsewhere. */
export function x509Evidence(certificateFile: string, keyFile: string): NodeEvidence {
  return {
    attestor: 'x509pop',
    payload: async () => Buffer.concat(certificatesFromPem(readText(certificateFile)).map(({ der }) => der)),
    answer: async (challenge, csr) => answerChallenge(createPrivateKey(readText(keyFile)), challenge, csr),
  };
}

/** An OIDC issuer's token out of a file (GitLab's ID tokens, a cloud's identity documents). */
export function oidcFileEvidence(tokenFile: string): NodeEvidence {
  return { attestor: 'oidc', payload: async () => Buffer.from(readText(tokenFile).trim()) };
}

/**
 * A token that GitHub Actions gives to a job with the permission `id-token: write`: asked for at the address in the
 * job's environment.
 */
export function githubEvidence(audience: string, environment: NodeJS.ProcessEnv): NodeEvidence {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: address, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = environment;
  if (address === undefined || bearer === undefined) {
    throw new InterlockError(
      'usage',
      'GitHub Actions',
      'this is no job of GitHub Actions that may ask for an ID token: give it "permissions: id-token: write"',
    );
  }
  return {
    attestor: 'oidc',
    async payload() {
      const url = new URL(address);
      url.searchParams.set('audience', audience);
      const response = await fetch(url, {
        headers: { authorization: `Bearer ${bearer}` },
        redirect: 'error',
        signal: AbortSignal.timeout(TOKEN_MS),
      });
      if (!response.ok) throw noToken(`it answered ${response.status}`);
      const { value } = (await response.json()) as { value?: unknown };
      if (typeof value !== 'string') throw noToken('its answer holds no token');
      return Buffer.from(value);
    },
  };
}

function noToken(why: string): InterlockError {
  return new InterlockError('unavailable', 'GitHub Actions', `GitHub Actions gave no ID token: ${why}`);
}

function readText(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InterlockError('io', path, `${path} cannot be read`, { cause: error });
  }
  if (text.length > MAX_BYTES)
    throw new InterlockError('limit', path, `${path} is larger than ${MAX_BYTES} bytes`);
  return text;
}
