import { beforeAll, describe, expect, test } from 'vitest';
import { context, NOW, tokenIssuer, usedTokens } from './example.test-helper.ts';
import { K8sPsatAttestor, type KubernetesCluster, type TokenReviewStatus } from './index.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
type Issuer = Awaited<ReturnType<typeof tokenIssuer>>;
let api: Issuer;
let stranger: Issuer;
beforeAll(async () => {
  api = await tokenIssuer(ISSUER, 'RS256');
  stranger = await tokenIssuer(ISSUER, 'RS256');
});

const OWN = {
  namespace: 'interlock',
  serviceaccount: { name: 'agent', uid: 's1' },
  pod: { name: 'agent-x1', uid: 'p1' },
  node: { name: 'node-1.eu', uid: 'n1' },
};
const sign = (own: object = OWN, more: object = {}, by = api) =>
  by.sign({
    sub: 'system:serviceaccount:interlock:agent',
    'kubernetes.io': own,
    aud: ['interlock'],
    ...more,
  });

function attestor(change: Partial<KubernetesCluster> = {}, cluster?: KubernetesCluster) {
  const usual = { name: 'prod', serviceAccounts: ['interlock:agent'], issuer: ISSUER, jwks: api.jwks };
  return new K8sPsatAttestor({
    clusters: [cluster ?? { ...usual, ...change }],
    used: usedTokens(),
    now: () => NOW,
  });
}
const attest = (token: string, by = attestor(), cluster = 'prod') =>
  by.attest(Buffer.from(JSON.stringify({ cluster, token })), context());

describe("a pod's token", () => {
  test("makes the node's agent, by the cluster's keys", async () => {
    expect(await attest(await sign())).toEqual({
      name: 'prod/node/node-1.eu',
      selectors: [
        'k8s_psat:cluster:prod',
        'k8s_psat:agent_ns:interlock',
        'k8s_psat:agent_sa:agent',
        'k8s_psat:agent_pod_name:agent-x1',
        'k8s_psat:agent_pod_uid:p1',
        'k8s_psat:agent_node_name:node-1.eu',
        'k8s_psat:agent_node_uid:n1',
      ],
      claims: {
        cluster: 'prod',
        namespace: 'interlock',
        service_account: 'agent',
        pod_name: 'agent-x1',
        pod_uid: 'p1',
        node_name: 'node-1.eu',
        node_uid: 'n1',
      },
      reattestable: true,
    });
  });

  test('of a cluster that does not put nodes into tokens makes an agent by its pod', async () => {
    expect((await attest(await sign({ ...OWN, node: undefined }))).name).toBe('prod/pod/p1');
  });

  test('serves an agent that starts anew, unless each is to count once', async () => {
    const token = await sign();
    const [by, once] = [attestor(), attestor({ once: true })];
    await attest(token, by);
    expect((await attest(token, by)).name).toBe('prod/node/node-1.eu');
    await attest(token, once);
    await expect(attest(token, once)).rejects.toThrow(/used already/);
  });

  test("with keys that are loaded makes the node's agent too", async () => {
    const by = attestor(
      {},
      {
        name: 'prod',
        serviceAccounts: ['interlock:agent'],
        issuer: ISSUER,
        loadJwks: () => Promise.resolve(api.jwks),
      },
    );
    expect((await attest(await sign(), by)).name).toBe('prod/node/node-1.eu');
  });

  const seconds = NOW / 1000;
  test.each<[string, () => Promise<string>, RegExp]>([
    [
      'of another service account',
      () => sign({ ...OWN, serviceaccount: { name: 'default' } }),
      /service account interlock:default is not among those of agents/,
    ],
    ['of another namespace', () => sign({ ...OWN, namespace: 'shop' }), /shop:agent is not among/],
    ['that is not bound to a pod', () => sign({ ...OWN, pod: undefined }), /not bound to a pod/],
    ['of no service account', () => sign({}), /of no service account/],
    [
      'without the claims of Kubernetes',
      () => sign(undefined, { 'kubernetes.io': 'x' }),
      /of no service account/,
    ],
    ['for another audience', () => sign(OWN, { aud: ['vault'] }), /not for "interlock"/],
    ['of another issuer', () => sign(OWN, { iss: 'https://other' }), /not from/],
    ['of another key', () => sign(OWN, {}, stranger), /signature is not of the issuer/],
    ['that expired', () => sign(OWN, { exp: seconds - 300 }), /expired .* 5m ago/],
    ['from a clock 5 minutes ahead', () => sign(OWN, { iat: seconds + 300 }), /compare the clocks/],
  ])('%s is refused', async (_what, token, expected) => {
    await expect(attest(await token())).rejects.toThrow(expected);
  });

  test('for a cluster that is not set up, or evidence that is none, is refused', async () => {
    await expect(attest(await sign(), attestor(), 'test')).rejects.toThrow(
      /cluster "test": this cluster is not set up/,
    );
    for (const text of [
      '',
      '{',
      '[]',
      'null',
      '{"cluster":"prod"}',
      '{"cluster":1,"token":""}',
      'x'.repeat(50_000),
    ])
      await expect(attestor().attest(Buffer.from(text), context())).rejects.toMatchObject({
        code: 'invalid_token',
      });
  });
});

describe('TokenReview', () => {
  const STATUS: TokenReviewStatus = {
    authenticated: true,
    audiences: ['interlock'],
    user: {
      username: 'system:serviceaccount:interlock:agent',
      extra: {
        'authentication.kubernetes.io/pod-name': ['agent-x1'],
        'authentication.kubernetes.io/pod-uid': ['p1'],
        'authentication.kubernetes.io/node-name': ['node-1'],
      },
    },
  };
  const reviewed = (review: KubernetesCluster['review']) =>
    attest(
      'any',
      attestor(
        {},
        { name: 'prod', serviceAccounts: ['interlock:agent'], ...(review === undefined ? {} : { review }) },
      ),
    );

  test('is asked with the token and the audience, and its answer is taken', async () => {
    const asked: string[][] = [];
    const attested = await reviewed((...args) => {
      asked.push(args);
      return Promise.resolve(STATUS);
    });
    expect(asked).toEqual([['any', 'interlock']]);
    expect(attested.name).toBe('prod/node/node-1');
  });

  test.each<[string, TokenReviewStatus, RegExp]>([
    ['no', { authenticated: false, error: 'expired' }, /does not accept it/],
    ['nothing', {}, /does not accept it/],
    ['yes for any audience', { ...STATUS, audiences: [] }, /does not accept it for "interlock"/],
    [
      'yes without saying for which audience',
      { authenticated: true, ...(STATUS.user === undefined ? {} : { user: STATUS.user }) },
      /does not accept it for/,
    ],
    ['a person', { ...STATUS, user: { ...STATUS.user, username: 'alice' } }, /of no service account/],
    [
      'another account',
      { ...STATUS, user: { ...STATUS.user, username: 'system:serviceaccount:shop:web' } },
      /shop:web is not among/,
    ],
    [
      'an account without a pod',
      { ...STATUS, user: { username: 'system:serviceaccount:interlock:agent' } },
      /not bound to a pod/,
    ],
  ])('that answers %s is a refusal', async (_what, status, expected) => {
    await expect(reviewed(() => Promise.resolve(status))).rejects.toThrow(expected);
  });

  test('that does not answer is a passing fault', async () => {
    await expect(reviewed(() => Promise.reject(new Error('ECONNREFUSED')))).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});

test.each<[string, Partial<KubernetesCluster>, RegExp]>([
  ['no service account', { serviceAccounts: [] }, /name the service accounts/],
  ['no keys', { jwks: undefined }, /exactly one of/],
  ['keys and a review', { review: () => Promise.resolve({}) }, /exactly one of/],
  ['a name that is no segment', { name: 'a/b' }, /no path segment/],
])('a cluster with %s is refused', (_what, change, expected) => {
  expect(() => attestor(change)).toThrow(expected);
});
