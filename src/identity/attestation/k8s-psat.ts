import { InterlockError } from '../../access/index.ts';
import { claimsOf } from '../registration/index.ts';
import type { Attested, AttestContext, NodeAttestor } from './attestor.ts';
import {
  type KeyFinder,
  MAX_TOKEN_LENGTH,
  takeOnce,
  type UsedTokens,
  verifyToken,
} from './token-evidence.ts';
import { FetchedKeys, givenKeys } from './token-keys.ts';

/** The `status` of a TokenReview (authentication.k8s.io/v1), as the API server gave it. */
export interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly uid?: string;
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly error?: string;
}

/** A cluster whose pods may be agents. Exactly one of `jwks`, `loadJwks` and `review` is given. */
export interface KubernetesCluster {
  readonly name: string;
  /** The audience of the projected token; `interlock` where absent. */
  readonly audience?: string;
  /** NAMESPACE:NAME of the service accounts that agents run as. */
  readonly serviceAccounts: readonly string[];
  /** The `iss` of its tokens, with keys. */
  readonly issuer?: string;
  readonly jwks?: unknown;
  readonly loadJwks?: () => Promise<unknown>;
  /** Asks the cluster itself (TokenReview): knows of deleted pods, needs its API server. */
  readonly review?: (token: string, audience: string) => Promise<TokenReviewStatus>;
  /** Whether each token counts once; else one is good until it expires, as for an agent that starts anew. */
  readonly once?: boolean;
}

export interface K8sPsatOptions {
  readonly clusters: readonly KubernetesCluster[];
  readonly used: UsedTokens;
  readonly now: () => number;
}

/** Who a token belongs to, from a verified token or the cluster's own word. */
interface Bearer {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly node: { readonly name: string; readonly uid: string | undefined } | undefined;
}

const DEFAULT_AUDIENCE = 'interlock';

/** Attests a node by the projected service-account token of the agent's pod. The payload is JSON: {cluster, token}. */
export class K8sPsatAttestor implements NodeAttestor {
  readonly name = 'k8s_psat';
  readonly #clusters = new Map<string, { cluster: KubernetesCluster; keys: KeyFinder | undefined }>();
  readonly #used: UsedTokens;

  /** Throws `invalid_document` for a cluster that cannot be used. */
  constructor({ clusters, used, now }: K8sPsatOptions) {
    for (const cluster of clusters) {
      if (this.#clusters.has(cluster.name)) throw unusable(cluster.name, 'it is given twice');
      this.#clusters.set(cluster.name, { cluster, keys: keysOf(cluster, now) });
    }
    this.#used = used;
  }

  async attest(payload: Uint8Array, { now }: AttestContext): Promise<Attested> {
    const { cluster: name, token } = readPayload(payload);
    const found = this.#clusters.get(name);
    if (found === undefined) throw refused(name, 'this cluster is not set up here');
    const { cluster, keys } = found;
    const audience = cluster.audience ?? DEFAULT_AUDIENCE;
    const bearer =
      keys === undefined
        ? await this.#reviewed(cluster, token, audience)
        : await this.#verified(cluster, keys, token, audience, now);
    const account = `${bearer.namespace}:${bearer.serviceAccount}`;
    if (!cluster.serviceAccounts.includes(account))
      throw refused(name, `service account ${account} is not among those of agents`);
    return attestedOf(name, bearer);
  }

  async #verified(
    { name, issuer, once }: KubernetesCluster,
    keys: KeyFinder,
    token: string,
    audience: string,
    now: number,
  ): Promise<Bearer> {
    const verified = await verifyToken(token, { subject: `cluster ${name}`, keys, issuer, audience, now });
    const bearer = bearerOfClaims(name, verified.claims);
    if (once === true) await takeOnce(this.#used, verified, `cluster ${name}`, now);
    return bearer;
  }

  async #reviewed({ name, review }: KubernetesCluster, token: string, audience: string): Promise<Bearer> {
    if (review === undefined) throw unusable(name, 'it has neither keys nor a review');
    let status: TokenReviewStatus;
    try {
      status = await review(token, audience);
    } catch (cause) {
      // Why is for the log: whoever asks is not known yet.
      throw new InterlockError('unavailable', name, `cluster ${name} does not answer for its tokens`, {
        cause,
      });
    }
    // An API server that does not know audiences leaves them out: its answer would be for any audience.
    const { audiences } = status;
    if (status.authenticated !== true || !Array.isArray(audiences) || !audiences.includes(audience))
      throw refused(name, `the cluster does not accept it for "${audience}"${saidBy(status)}`);
    return bearerOfReview(name, status);
  }
}

/** The cluster's own reason: "service account token has expired". */
function saidBy({ error }: TokenReviewStatus): string {
  return typeof error === 'string' && error !== '' ? `: ${error.slice(0, 200)}` : '';
}

function keysOf(cluster: KubernetesCluster, now: () => number): KeyFinder | undefined {
  const { name, jwks, loadJwks, review, issuer, once, serviceAccounts } = cluster;
  if (!SEGMENT.test(name) || name === '.' || name === '..')
    throw unusable(name, 'its name is no path segment');
  if (serviceAccounts.length === 0) throw unusable(name, 'name the service accounts that agents run as');
  const ways = [jwks, loadJwks, review].filter((way) => way !== undefined).length;
  if (ways !== 1)
    throw unusable(
      name,
      'give it exactly one of keys (jwks), where to get them (keysFrom) and whom to ask (apiServer)',
    );
  if (review !== undefined) {
    if (once === true) throw unusable(name, 'a review cannot tell the first use of a token from the second');
    return undefined;
  }
  if (issuer === undefined) throw unusable(name, 'name the issuer of its tokens');
  return loadJwks === undefined ? givenKeys(jwks, name) : new FetchedKeys(name, loadJwks, now).find;
}

function readPayload(payload: Uint8Array): { cluster: string; token: string } {
  const fault = () =>
    new InterlockError('invalid_token', 'k8s_psat', 'the evidence is not {"cluster": NAME, "token": TOKEN}');
  if (payload.byteLength > MAX_TOKEN_LENGTH + 1024) throw fault();
  let data: unknown;
  try {
    data = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    throw fault();
  }
  if (typeof data !== 'object' || data === null || !('cluster' in data) || !('token' in data)) throw fault();
  const { cluster, token } = data;
  if (typeof cluster !== 'string' || typeof token !== 'string') throw fault();
  return { cluster, token };
}

/** The private claims of a bound token (KEP-1205, and KEP-4193 for the node). */
function bearerOfClaims(cluster: string, claims: Readonly<Record<string, unknown>>): Bearer {
  const own = part(claims, 'kubernetes.io');
  const pod = part(own, 'pod');
  const account = part(own, 'serviceaccount');
  const node = part(own, 'node');
  return bearer(cluster, {
    namespace: textIn(own, 'namespace'),
    serviceAccount: textIn(account, 'name'),
    podName: textIn(pod, 'name'),
    podUid: textIn(pod, 'uid'),
    nodeName: textIn(node, 'name'),
    nodeUid: textIn(node, 'uid'),
  });
}

function bearerOfReview(cluster: string, { user }: TokenReviewStatus): Bearer {
  const match = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user?.username ?? '');
  const extra = (key: string) => {
    const name = `authentication.kubernetes.io/${key}`;
    const values: unknown =
      user?.extra !== undefined && Object.hasOwn(user.extra, name) ? user.extra[name] : [];
    const value: unknown = Array.isArray(values) ? values[0] : undefined;
    return typeof value === 'string' ? value : undefined;
  };
  return bearer(cluster, {
    namespace: match?.[1],
    serviceAccount: match?.[2],
    podName: extra('pod-name'),
    podUid: extra('pod-uid'),
    nodeName: extra('node-name'),
    nodeUid: extra('node-uid'),
  });
}

const SEGMENT = /^[A-Za-z0-9._-]{1,253}$/;

function bearer(
  cluster: string,
  parts: Readonly<
    Record<'namespace' | 'serviceAccount' | 'podName' | 'podUid' | 'nodeName' | 'nodeUid', string | undefined>
  >,
): Bearer {
  const { namespace, serviceAccount, podName, podUid, nodeName, nodeUid } = parts;
  if (namespace === undefined || serviceAccount === undefined)
    throw refused(cluster, 'it is of no service account');
  if (podName === undefined || podUid === undefined)
    throw refused(cluster, 'it is not bound to a pod: use a projected token');
  const node = nodeName === undefined ? undefined : { name: nodeName, uid: nodeUid };
  return { namespace, serviceAccount, pod: { name: podName, uid: podUid }, node };
}

function attestedOf(cluster: string, { namespace, serviceAccount, pod, node }: Bearer): Attested {
  const prefix = 'k8s_psat:';
  return {
    // Clusters before Kubernetes 1.32 do not put the node into the token.
    name: node === undefined ? `${cluster}/pod/${pod.uid}` : `${cluster}/node/${node.name}`,
    // SPIRE's forms (its k8s_psat plugin).
    selectors: [
      `${prefix}cluster:${cluster}`,
      `${prefix}agent_ns:${namespace}`,
      `${prefix}agent_sa:${serviceAccount}`,
      `${prefix}agent_pod_name:${pod.name}`,
      `${prefix}agent_pod_uid:${pod.uid}`,
      ...(node === undefined ? [] : [`${prefix}agent_node_name:${node.name}`]),
      ...(node?.uid === undefined ? [] : [`${prefix}agent_node_uid:${node.uid}`]),
    ],
    claims: claimsOf({
      cluster,
      namespace,
      service_account: serviceAccount,
      pod_name: pod.name,
      pod_uid: pod.uid,
      node_name: node?.name,
      node_uid: node?.uid,
    }),
    reattestable: true,
  };
}

function part(from: unknown, key: string): unknown {
  if (typeof from !== 'object' || from === null || !Object.hasOwn(from, key)) return undefined;
  // Object.hasOwn has shown that it is there.
  return (from as Record<string, unknown>)[key];
}

function textIn(from: unknown, key: string): string | undefined {
  const value = part(from, key);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function refused(cluster: string, reason: string): InterlockError {
  const name = cluster.slice(0, 120);
  return new InterlockError(
    'untrusted',
    `cluster ${name}`,
    `the token is not accepted by cluster "${name}": ${reason}`,
  );
}

function unusable(cluster: string, reason: string): InterlockError {
  return new InterlockError('invalid_document', cluster, `cluster "${cluster.slice(0, 80)}": ${reason}`);
}
