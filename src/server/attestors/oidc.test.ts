import { createHmac } from 'node:crypto';
import { exportSPKI, importJWK } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configured, httpsServer, json, MINUTE, NOW, tokenIssuer } from './stand-ins.test-helper.ts';

// Made once: RSA keys take long.
const keys = {
  k1: await tokenIssuer('', 'RS256', 'k1'),
  k2: await tokenIssuer('', 'RS256', 'k2'),
};

/** An issuer on localhost as CI systems run theirs: discovery, and keys at an address of its own. */
async function issuer(keysPath: string) {
  const state = {
    kids: ['k1'] as ('k1' | 'k2')[],
    document: {} as object,
    asked: [] as string[],
    down: false,
  };
  const server = await httpsServer((request, response) => {
    state.asked.push(request.url ?? '');
    if (state.down) return void response.writeHead(503).end();
    if (request.url === '/.well-known/openid-configuration')
      return json(response, 200, {
        issuer: server.url,
        jwks_uri: `${server.url}${keysPath}`,
        subject_types_supported: ['public', 'pairwise'],
        response_types_supported: ['id_token'],
        id_token_signing_alg_values_supported: ['RS256'],
        scopes_supported: ['openid'],
        ...state.document,
      });
    if (request.url !== keysPath) return void response.writeHead(404).end();
    json(response, 200, { keys: state.kids.map((kid) => keys[kid].jwk) });
  });
  return {
    ...server,
    state,
    sign: (claims: object, kid: 'k1' | 'k2' = 'k1', header: object = {}) =>
      keys[kid].sign({ iss: server.url, ...claims }, { ...header }),
  };
}

const seconds = NOW / 1000;

/** As GitHub's reference of its OpenID Connect claims has them. */
const GITHUB = {
  jti: '0f3a1c2e-7d58-4b0a-9d55-1c2b3a4d5e6f',
  sub: 'repo:acme/shop:environment:production',
  aud: 'interlock',
  ref: 'refs/heads/main',
  sha: '1f0e9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a3f2e',
  repository: 'acme/shop',
  repository_owner: 'acme',
  repository_owner_id: '6154722',
  run_id: '10234567890',
  run_number: '42',
  run_attempt: '1',
  repository_visibility: 'private',
  repository_id: '74130',
  actor_id: '583231',
  actor: 'octocat',
  workflow: 'deploy',
  head_ref: '',
  base_ref: '',
  event_name: 'push',
  ref_protected: 'true',
  ref_type: 'branch',
  environment: 'production',
  workflow_ref: 'acme/shop/.github/workflows/deploy.yml@refs/heads/main',
  workflow_sha: '1f0e9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a3f2e',
  job_workflow_ref: 'acme/shared/.github/workflows/deploy.yml@refs/heads/main',
  job_workflow_sha: 'a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0',
  runner_environment: 'github-hosted',
  nbf: seconds - 600,
  exp: seconds + 300,
  iat: seconds,
};

/** As GitLab's documentation of ID tokens has them: texts all but the runner's number and the times. */
const GITLAB = {
  namespace_id: '72',
  namespace_path: 'acme',
  project_id: '20',
  project_path: 'acme/shop',
  user_id: '1',
  user_login: 'sample-user',
  user_email: 'sample-user@example.com',
  user_access_level: 'developer',
  user_identities: [{ provider: 'github', extern_uid: '2435223452345' }],
  pipeline_id: '574',
  pipeline_source: 'push',
  job_id: '302',
  ref: 'main',
  ref_type: 'branch',
  ref_path: 'refs/heads/main',
  ref_protected: 'true',
  groups_direct: ['acme/platform', 'acme/pay'],
  environment: 'production',
  environment_protected: 'true',
  deployment_tier: 'production',
  runner_id: 1,
  runner_environment: 'self-hosted',
  sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
  project_visibility: 'private',
  ci_config_ref_uri: 'gitlab.example.com/acme/shop//.gitlab-ci.yml@refs/heads/main',
  ci_config_sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
  jti: '63ab75f4-2606-4f0e-a500-86f90ab13a85',
  sub: 'project_path:acme/shop:ref_type:branch:ref:main',
  aud: 'interlock',
  iat: seconds,
  nbf: seconds - 5,
  exp: seconds + 3600,
};

const kinds = {
  GitHub: {
    keysPath: '/.well-known/jwks',
    claims: GITHUB,
    rule: {
      when: "claims.repository_owner_id == '6154722' && claims.environment == 'production' && claims.runner_environment == 'github-hosted'",
      agent: "'gha-' + claims.run_id + '-' + claims.run_attempt",
      claims: { team: "claims.repository.split('/')[1]" },
    },
    agent: 'gha-10234567890-1',
    stranger: { repository_owner: 'acme', repository_owner_id: '999' },
  },
  GitLab: {
    keysPath: '/oauth/discovery/keys',
    claims: GITLAB,
    rule: {
      when: "claims.project_path == 'acme/shop' && claims.ref_protected == 'true' && 'acme/pay' in claims.groups_direct && claims.runner_id == 1",
      agent: "'gl-' + claims.job_id",
      claims: { team: "claims.project_path.split('/')[1]" },
    },
    agent: 'gl-302',
    stranger: { ref_protected: 'false' },
  },
};

describe.each(Object.entries(kinds))(
  'a job token of %s',
  (_, { keysPath, claims, rule, agent, stranger }) => {
    let ci: Awaited<ReturnType<typeof issuer>>;
    const clock = { now: NOW };
    beforeEach(async () => {
      clock.now = NOW;
      ci = await issuer(keysPath);
    });
    afterEach(() => ci.close());
    const attestor = (change: object = {}) =>
      configured(
        {
          oidc: [
            { issuer: ci.url, audience: 'interlock', caFile: ci.caFile, life: '6h', ...rule, ...change },
          ],
        },
        clock,
      );

    test('makes an agent, with its claims for rules to see', async () => {
      const attested = await attestor()(await ci.sign(claims, 'k1', { x5t: 'ykNaY4qM_ta4k2TgZOCEYLkcYlA' }));
      expect(attested).toMatchObject({
        name: agent,
        claims: { team: 'shop', sub: claims.sub, environment: 'production' },
        endsAt: NOW + 6 * 60 * MINUTE,
        selectors: [`oidc:issuer:${ci.url}`, `oidc:subject:${claims.sub}`],
      });
      expect(ci.state.asked).toEqual(['/.well-known/openid-configuration', keysPath]);
    });

    test.each<[string, object, RegExp]>([
      ['of somebody else', stranger, /may not be an agent/],
      ['for another audience', { aud: 'sigstore' }, /meant for "sigstore", not for "interlock"/],
      ['for nobody', { aud: undefined }, /meant for nobody/],
      ['not valid yet', { nbf: seconds + 120, iat: seconds + 120 }, /valid only from/],
      ['expired', { exp: seconds - 61 }, /expired/],
      ['without an end', { exp: undefined }, /would never end/],
      ['with a life of years', { exp: seconds + 86_400 * 365 }, /lives longer than/],
      [
        'of an issuer that is not set up',
        { iss: 'https://token.actions.githubusercontent.com' },
        /is not set up here/,
      ],
    ])('is refused when it is %s', async (_name, change, message) => {
      await expect(attestor()(await ci.sign({ ...claims, ...change }))).rejects.toThrow(message);
    });

    test('is refused for another authorized party where the rule names one', async () => {
      const attest = attestor({ when: "claims.azp == 'ci'" });
      await expect(attest(await ci.sign({ ...claims, azp: 'other' }))).rejects.toThrow(/azp is "other"/);
      await expect(attest(await ci.sign(claims))).rejects.toThrow(/azp is not there/);
      expect((await attest(await ci.sign({ ...claims, azp: 'ci' }))).name).toBe(agent);
    });

    test('is taken once, and a refused one is not used up', async () => {
      const jwt = await ci.sign(claims);
      await expect(attestor({ when: 'false' })(jwt)).rejects.toThrow(/does not hold/);
      const attest = attestor();
      await attest(jwt);
      await expect(attest(jwt)).rejects.toThrow(/it was used already/);
    });

    test('is refused when it is not signed, or with the public key as a shared secret', async () => {
      const encode = (data: object) => Buffer.from(JSON.stringify(data)).toString('base64url');
      const payload = encode({ iss: ci.url, ...claims });
      const attest = attestor();
      await attest(await ci.sign(claims));
      await expect(attest(`${encode({ alg: 'none' })}.${payload}.`)).rejects.toMatchObject({
        code: 'invalid_token',
      });
      const key = await importJWK(keys.k1.jwk, 'RS256');
      if (key instanceof Uint8Array) throw new Error('no key pair');
      const head = `${encode({ alg: 'HS256', kid: 'k1' })}.${payload}`;
      const mark = createHmac('sha256', await exportSPKI(key))
        .update(head)
        .digest('base64url');
      await expect(attest(`${head}.${mark}`)).rejects.toThrow(/its algorithm is none of/);
    });

    test('is taken after the issuer changes its key, and the old key no more once it is gone', async () => {
      const attest = attestor();
      await attest(await ci.sign(claims));
      ci.state.kids = ['k1', 'k2'];
      clock.now += MINUTE;
      await attest(await ci.sign({ ...claims, jti: 'second' }, 'k2'));
      await attest(await ci.sign({ ...claims, jti: 'third' }));
      ci.state.kids = ['k2'];
      clock.now += 11 * MINUTE;
      const later = { ...claims, exp: seconds + 1800 };
      await expect(attest(await ci.sign(later))).rejects.toThrow(/does not have/);
      await attest(await ci.sign(later, 'k2'));
    });

    test('is judged by the known keys while the issuer is away, and not at all by a stranger', async () => {
      const attest = attestor();
      await attest(await ci.sign(claims));
      ci.state.down = true;
      clock.now += 11 * MINUTE;
      expect((await attest(await ci.sign({ ...claims, exp: seconds + 1800 }))).name).toBe(agent);
      await expect(attestor()(await ci.sign({ ...claims, exp: seconds + 1800 }))).rejects.toMatchObject({
        code: 'unavailable',
      });
    });

    test.each<[string, object]>([
      ['names another issuer', { issuer: 'https://evil.example' }],
      ['has keys at a place without TLS', { jwks_uri: 'http://keys.example/jwks' }],
      ['has no address of keys', { jwks_uri: undefined }],
    ])('is refused while the discovery document %s', async (_name, change) => {
      ci.state.document = change;
      await expect(attestor()(await ci.sign(claims))).rejects.toMatchObject({ code: 'unavailable' });
      expect(ci.state.asked).toEqual(['/.well-known/openid-configuration']);
    });

    test('is refused while the issuer shows a certificate of an authority that is not named', async () => {
      await expect(attestor({ caFile: undefined })(await ci.sign(claims))).rejects.toMatchObject({
        code: 'unavailable',
      });
      expect(ci.state.asked).toEqual([]);
    });
  },
);
