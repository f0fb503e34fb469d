import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tokenReview } from './api-server.ts';
import {
  apiServer,
  configured,
  ISSUER,
  MINUTE,
  NOW,
  OWN_TOKEN,
  POWERLESS_TOKEN,
  projected,
  type Trouble,
} from './stand-ins.test-helper.ts';

let cluster: Awaited<ReturnType<typeof apiServer>>;
beforeEach(async () => {
  cluster = await apiServer();
});
afterEach(() => cluster.close());

const node = 'prod/node/ip-10-0-3-7.eu-west-1.compute.internal';
const token = (change: object = {}) => cluster.keys.sign({ ...projected(), ...change }, { typ: undefined });
const base = { name: 'prod', serviceAccounts: ['interlock:agent'] };
const server = () => ({ url: cluster.url, caFile: cluster.caFile, tokenFile: cluster.tokenFile });

/** Attests by TokenReview, by the keys of the API server, or by keys in the file. */
const ways = {
  review: () => ({ ...base, apiServer: server() }),
  'keys of the API server': () => ({ ...base, issuer: ISSUER, keysFrom: server() }),
  'keys in the file': () => ({ ...base, issuer: ISSUER, jwks: cluster.keys.jwks }),
};
type Way = keyof typeof ways;
const WAYS = Object.keys(ways) as Way[];
const by = (way: Way, change: object = {}, clock = { now: NOW }) => {
  const attest = configured({ k8s_psat: [{ ...ways[way](), ...change }] }, clock);
  return async (jwt: string | Promise<string>) => attest({ cluster: 'prod', token: await jwt });
};

describe.each(WAYS)('a projected token, judged by %s', (way) => {
  test('makes the agent of its node', async () => {
    const { name, claims, reattestable } = await by(way)(token());
    expect({ name, reattestable }).toEqual({ name: node, reattestable: true });
    expect(claims).toEqual({
      cluster: 'prod',
      namespace: 'interlock',
      service_account: 'agent',
      pod_name: 'agent-x7k2p',
      pod_uid: '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d',
      node_name: 'ip-10-0-3-7.eu-west-1.compute.internal',
      node_uid: '3f0f2d4c-8b7a-4b7b-9d0c-5b1f6f0a2c11',
    });
  });

  test('names its pod where the cluster does not put the node in', async () => {
    const { node: _, ...own } = projected()['kubernetes.io'];
    expect((await by(way)(token({ 'kubernetes.io': own }))).name).toBe(`prod/pod/${own.pod.uid}`);
  });

  test('is refused when it is for another audience, even the API server itself', async () => {
    await expect(by(way)(token({ aud: [ISSUER] }))).rejects.toMatchObject({ code: 'untrusted' });
    await expect(by(way, { audience: 'other' })(token())).rejects.toMatchObject({ code: 'untrusted' });
  });

  test('is taken when ours is one of its audiences', async () => {
    expect((await by(way)(token({ aud: [ISSUER, 'interlock'] }))).name).toBe(node);
  });

  test('is refused when it has expired, and the reason says so', async () => {
    cluster.state.now = NOW + 70 * MINUTE;
    const attest = by(way, {}, { now: NOW + 70 * MINUTE });
    await expect(attest(token())).rejects.toThrow(/expired/);
  });

  test('is refused when its signature, or its service account, is another', async () => {
    const jwt = await token();
    const [head, body, mark = ''] = jwt.split('.');
    const forged = `${head}.${body}.${mark.startsWith('A') ? 'B' : 'A'}${mark.slice(1)}`;
    await expect(by(way)(forged)).rejects.toMatchObject({ code: 'untrusted' });
    await expect(by(way, { serviceAccounts: ['interlock:other'] })(jwt)).rejects.toThrow(
      'service account interlock:agent is not among those of agents',
    );
  });

  test('is refused without a pod', async () => {
    const { pod: _, ...own } = projected()['kubernetes.io'];
    await expect(by(way)(token({ 'kubernetes.io': own }))).rejects.toThrow(/not bound to a pod/);
  });
});

/** What the agent hears, and what the control plane's log does. */
const unanswered = (why: string) => ({
  code: 'unavailable',
  message: 'cluster prod does not answer for its tokens',
  cause: { message: expect.stringContaining(why) },
});

describe('a review', () => {
  test('knows that the pod was deleted, which keys cannot', async () => {
    cluster.state.deleted.add('agent-x7k2p');
    await expect(by('review')(token())).rejects.toThrow(/has been invalidated/);
    expect((await by('keys of the API server')(token())).name).toBe(node);
  });

  test('reads its own token anew for every question', async () => {
    const attest = by('review');
    cluster.file('token', 'stale');
    await expect(attest(token())).rejects.toMatchObject(
      unanswered(`the API server ${cluster.url} does not accept the control plane's own token (401)`),
    );
    cluster.file('token', OWN_TOKEN);
    expect((await attest(token())).name).toBe(node);
  });

  test('says which right is missing', async () => {
    cluster.file('token', POWERLESS_TOKEN);
    await expect(by('review')(token())).rejects.toMatchObject(
      unanswered('create TokenReviews (the role system:auth-delegator) (403)'),
    );
    await expect(by('keys of the API server')(token())).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('says which file is missing, and shows no token', async () => {
    const attest = by('review', { apiServer: { ...server(), tokenFile: '/nowhere/token' } });
    const jwt = await token();
    const error = await attest(jwt).catch((reason: unknown) => reason);
    expect(error).toMatchObject(unanswered('/nowhere/token'));
    expect(String(error)).not.toContain(jwt.split('.')[1]);
  });

  test('does not ask a server of another authority', async () => {
    const { caFile: _, ...stranger } = server();
    await expect(by('review', { apiServer: stranger })(token())).rejects.toMatchObject(
      unanswered('cannot be asked'),
    );
    expect(cluster.state.asked).toEqual([]);
  });

  test.each<[Trouble, RegExp]>([
    [401, /does not accept the control plane's own token/],
    [403, /does not let the control plane's account/],
    [409, /answered 409/],
    [429, /answered 429/],
    [500, /answered 500/],
    [503, /answered 503/],
    ['redirect', /answered 307/],
    ['garbage', /did not answer with JSON/],
    ['status', /did not answer with a TokenReview/],
    ['empty', /did not answer with a TokenReview/],
    ['cut', /cannot be asked/],
    ['huge', /answers more than 262144 bytes/],
    ['silent', /gave no whole answer in 100 ms/],
    ['dripping', /gave no whole answer in 100 ms/],
  ])('with trouble (%s) gives nothing', async (trouble, message) => {
    cluster.state.trouble = trouble;
    const review = tokenReview({
      ...server(),
      timeoutMs: trouble === 'silent' || trouble === 'dripping' ? 100 : 10_000,
    });
    await expect(review(await token(), 'interlock')).rejects.toThrow(message);
    expect(cluster.state.asked).toHaveLength(1);
  });
});

describe('the keys of the API server', () => {
  test('are kept, and serve through its absence', async () => {
    const attest = by('keys of the API server');
    await attest(token());
    cluster.state.trouble = 500;
    expect((await attest(token({ jti: 'other' }))).name).toBe(node);
    expect(cluster.state.asked).toEqual(['GET /openid/v1/jwks']);
  });

  test('are refused by another issuer', async () => {
    await expect(by('keys of the API server')(token({ iss: 'https://other.example' }))).rejects.toThrow(
      /it is from "https:\/\/other.example"/,
    );
  });

  test('make each token count once where the file says so', async () => {
    const attest = by('keys of the API server', { once: true });
    const jwt = await token();
    await attest(jwt);
    await expect(attest(jwt)).rejects.toThrow(/it was used already/);
  });
});
