import { beforeAll, describe, expect, test } from 'vitest';
import { context, MINUTE, NOW, tokenIssuer, usedTokens } from './example.test-helper.ts';
import { attestedAgent, OidcAttestor, type OidcIssuer } from './index.ts';

const GITHUB = 'https://token.actions.githubusercontent.com';
const GITLAB = 'https://gitlab.example';
const CLOUD = 'https://accounts.google.com';

type Issuer = Awaited<ReturnType<typeof tokenIssuer>>;
let github: Issuer;
let gitlab: Issuer;
let cloud: Issuer;
let stranger: Issuer;
beforeAll(async () => {
  github = await tokenIssuer(GITHUB, 'RS256');
  gitlab = await tokenIssuer(GITLAB, 'RS256');
  cloud = await tokenIssuer(CLOUD, 'ES256');
  stranger = await tokenIssuer(GITHUB, 'RS256');
});

/** The claims that GitHub documents for its OpenID Connect tokens. */
const JOB = {
  sub: 'repo:acme/shop:ref:refs/heads/main',
  repository: 'acme/shop',
  repository_owner: 'acme',
  ref: 'refs/heads/main',
  run_id: '4711',
  environment: 'production',
};

const rules = (): Record<string, Omit<OidcIssuer, 'issuer' | 'jwks'>> => ({
  [GITHUB]: {
    audience: 'interlock',
    when: "claims.repository_owner == 'acme' && claims.ref == 'refs/heads/main'",
    agent: "claims.repository + '/' + claims.run_id",
    claims: { project: "claims.repository.split('/')[1]" },
    life: 6 * 60 * MINUTE,
  },
  [GITLAB]: {
    audience: 'interlock',
    when: "claims.project_path.startsWith('acme/') && claims.ref_protected == 'true'",
    agent: "'project-' + claims.project_id + '/' + claims.job_id",
  },
  [CLOUD]: {
    audience: 'https://interlock.example',
    when: "claims.google.compute_engine.project_id == 'acme-prod'",
    agent: 'claims.google.compute_engine.instance_name',
  },
});

function attestor(options: { change?: Partial<OidcIssuer>; used?: ReturnType<typeof usedTokens> } = {}) {
  const issuers = [github, gitlab, cloud].map(({ issuer, jwks }): OidcIssuer => {
    const own = rules()[issuer];
    if (own === undefined) throw new Error(issuer);
    return { issuer, jwks, ...own, ...(issuer === GITHUB ? options.change : {}) };
  });
  return new OidcAttestor({
    issuers,
    used: options.used ?? usedTokens(),
    fetchText: () => Promise.reject(new Error('no network')),
    now: () => NOW,
  });
}

const attest = (token: string, by = attestor(), now = NOW) => by.attest(Buffer.from(token), context(now));

describe('a token', () => {
  test('of a GitHub Actions job makes an agent for the life of the job', async () => {
    const attested = await attest(await github.sign(JOB));
    expect(attested).toMatchObject({
      name: 'acme/shop/4711',
      selectors: [`oidc:issuer:${GITHUB}`, 'oidc:subject:repo:acme/shop:ref:refs/heads/main'],
      claims: { project: 'shop', environment: 'production' },
      endsAt: NOW + 6 * 60 * MINUTE,
    });
    const agent = attestedAgent('example.org', 'oidc', attested);
    expect(agent.agent.id).toBe('spiffe://example.org/interlock/agent/oidc/acme/shop/4711');
    expect(agent.endsAt).toBe(attested.endsAt);
    expect(agent.selectors).toContain('agent:attestor:oidc');
  });

  test('of a GitLab job makes an agent', async () => {
    const token = await gitlab.sign({
      sub: 'x',
      project_path: 'acme/shop',
      project_id: '7',
      job_id: '99',
      ref_protected: 'true',
    });
    expect(await attest(token)).toMatchObject({ name: 'project-7/99', reattestable: true });
  });

  test('of a cloud instance makes an agent', async () => {
    const google = { compute_engine: { project_id: 'acme-prod', instance_name: 'vm-1' } };
    const token = await cloud.sign({ sub: '1', aud: 'https://interlock.example', google });
    expect(await attest(token)).toMatchObject({ name: 'vm-1', claims: { google } });
  });

  test('is taken once, also where two come at the same time, in any form of its signature', async () => {
    const by = attestor();
    const token = await github.sign(JOB);
    const results = await Promise.allSettled([attest(token, by), attest(token, by)]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(attest(` ${token}\n`, by)).rejects.toThrow(/used already/);
    expect((await attest(await github.sign({ ...JOB, run_id: '4712' }), by)).name).toBe('acme/shop/4712');

    // (r, s) and (r, n - s) are both signatures of the same ECDSA token.
    const google = { compute_engine: { project_id: 'acme-prod', instance_name: 'vm-1' } };
    const first = await cloud.sign({ sub: '1', aud: 'https://interlock.example', google });
    await attest(first, by);
    await expect(attest(otherSignature(first), by)).rejects.toThrow(/used already/);
  });

  test('is remembered until no clock could take it any more', async () => {
    const used = usedTokens();
    await attest(await github.sign(JOB), attestor({ used }));
    expect([...used.until.values()]).toEqual([NOW + 6 * MINUTE]);
  });

  test('that is refused is not used up', async () => {
    const used = usedTokens();
    await expect(
      attest(await github.sign({ ...JOB, ref: 'refs/heads/x' }), attestor({ used })),
    ).rejects.toThrow(/does not hold/);
    expect(used.until.size).toBe(0);
  });

  const seconds = NOW / 1000;
  test.each<[string, () => Promise<string>, RegExp]>([
    [
      'of another repository',
      () => github.sign({ ...JOB, repository_owner: 'evil' }),
      /repository_owner is "evil"/,
    ],
    ['without a claim that counts', () => github.sign({ ...JOB, ref: undefined }), /ref is not there/],
    ['whose name is no name', () => github.sign({ ...JOB, run_id: '../x' }), /cannot name an agent/],
    ['whose name cannot be made', () => github.sign({ ...JOB, run_id: undefined }), /"agent" has no value/],
    [
      'that expired 5 minutes ago',
      () => github.sign({ ...JOB, exp: seconds - 300 }),
      /expired 2026-11-21T04:55:00.000Z, 5m ago by this server's clock/,
    ],
    [
      'from a clock 5 minutes ahead',
      () => github.sign({ ...JOB, iat: seconds + 300, exp: seconds + 600 }),
      /valid only from 2026-11-21T05:05:00.000Z, in 5m by this server's clock: compare the clocks/,
    ],
    ['not yet valid', () => github.sign({ ...JOB, nbf: seconds + 300 }), /valid only from/],
    ['that never ends', () => github.sign({ ...JOB, exp: undefined }), /no "exp"/],
    ['that ends in years', () => github.sign({ ...JOB, exp: seconds + 3e8 }), /lives longer than 1d/],
    [
      'that has been good for days',
      () => github.sign({ ...JOB, iat: seconds - 2e5, exp: seconds + 300 }),
      /lives longer than 1d/,
    ],
    [
      'that will be good for days, and does not say since when',
      () => github.sign({ ...JOB, iat: undefined, exp: seconds + 2e5 }),
      /lives longer than 1d/,
    ],
    ['whose times are text', () => github.sign({ ...JOB, exp: '9999999999' }), /"exp" is no time/],
    [
      'for another audience',
      () => github.sign({ ...JOB, aud: ['sts.amazonaws.com'] }),
      /meant for "sts.amazonaws.com", not for "interlock"/,
    ],
    ['for nobody', () => github.sign({ ...JOB, aud: undefined }), /meant for nobody/],
    [
      'of an issuer that is not set up',
      () => github.sign({ ...JOB, iss: 'https://evil.example' }),
      /"https:\/\/evil.example" is not set up here/,
    ],
    [
      'signed by another issuer that is set up',
      () => gitlab.sign({ ...JOB, iss: GITHUB }),
      /signature is not of the issuer/,
    ],
    ["of a key that is not the issuer's", () => stranger.sign(JOB), /signature is not of the issuer/],
    ['of an unknown key', () => github.sign(JOB, { kid: 'k2' }), /key that the issuer does not have/],
    ['with a critical header', () => github.sign(JOB, { crit: ['b64'], b64: true }), /no signed token|crit/],
    [
      'without a signature',
      () => Promise.resolve(`${part({ alg: 'none' })}.${part({ ...JOB, iss: GITHUB })}.`),
      /algorithm is none of|no signed token/,
    ],
    [
      'signed by a shared secret',
      () => Promise.resolve(`${part({ alg: 'HS256', kid: 'k1' })}.${part({ ...JOB, iss: GITHUB })}.AAAA`),
      /algorithm is none of/,
    ],
    [
      'whose payload was changed',
      async () => changed(await github.sign(JOB)),
      /signature is not of the issuer/,
    ],
    ['that is no token', () => Promise.resolve('hello'), /no signed token/],
    ['that is empty', () => Promise.resolve(''), /no signed token/],
    ['that is too long', () => Promise.resolve('a.'.repeat(20_000)), /no signed token|at most/],
  ])('%s is refused with the reason', async (_what, token, expected) => {
    const text = await token();
    const error = await attest(text).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ name: 'InterlockError', message: expect.stringMatching(expected) });
    if (text.length > 40) expect(String(error)).not.toContain(text.slice(-40));
  });

  test('a minute between the clocks is no reason to refuse it', async () => {
    const early = await github.sign({ ...JOB, iat: seconds + 59, exp: seconds + 300 });
    expect((await attest(early)).name).toBe('acme/shop/4711');
    const late = await github.sign({ ...JOB, iat: seconds - 300, exp: seconds - 59 });
    expect((await attest(late)).name).toBe('acme/shop/4711');
  });
});

describe('setting up an issuer', () => {
  test.each<[string, Partial<OidcIssuer>, RegExp]>([
    ['without a condition', { when: ' ' }, /say in "when" whose tokens count/],
    ['with a condition that is none', { when: 'claims.' }, /"when" is no expression/],
    ['with a condition on something else', { when: "k8s.namespace == 'x'" }, /"k8s" is not known here/],
    ['with a name that is none', { agent: '(' }, /"agent" is no expression/],
    ['over plain http', { issuer: 'http://ci.example' }, /https/],
    ['without an audience', { audience: '' }, /audience is empty/],
    ['with keys that are none', { jwks: { keys: 'x' } }, /no JWKS/],
    ['for less than a minute', { life: 1 }, /shorter than a minute/],
    ['twice', { issuer: GITLAB }, /given twice/],
  ])('%s is refused', (_what, change, expected) => {
    expect(() => attestor({ change })).toThrow(expected);
  });

  test('a shared secret among its keys is not used', async () => {
    const secret = { kty: 'oct', k: Buffer.alloc(32).toString('base64url'), kid: 'k1', alg: 'HS256' };
    const by = attestor({ change: { jwks: { keys: [secret] } } });
    await expect(attest(await github.sign(JOB), by)).rejects.toThrow(/does not have/);
  });
});

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function changed(token: string): string {
  const [header, payload = '', signature] = token.split('.');
  const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return `${header}.${part({ ...(claims as object), environment: 'test' })}.${signature}`;
}

/** The same P-256 token with the other of its two signatures. */
function otherSignature(token: string): string {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const cut = token.lastIndexOf('.') + 1;
  const raw = Buffer.from(token.slice(cut), 'base64url');
  const s = n - BigInt(`0x${raw.subarray(32).toString('hex')}`);
  const other = Buffer.concat([raw.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
  return token.slice(0, cut) + other.toString('base64url');
}
