import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { usedTokens } from '../../identity/attestation/example.test-helper.ts';
import { rootOf } from '../../identity/bundle/authorities.test-helper.ts';
import { certificateToPem } from '../../identity/index.ts';
import { attestorsFrom } from './config.ts';

const parts = {
  used: usedTokens(),
  timers: { now: () => 0, after: () => () => undefined, random: () => 0.5 },
};
const names = (text: string) => attestorsFrom(text, 'att.yaml')(parts).map(({ name }) => name);

/** The message of the one error that a text gives. */
function fault(data: unknown): string {
  try {
    names(typeof data === 'string' ? data : JSON.stringify(data));
  } catch (error) {
    if (isInterlockError(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'taken';
}

const cluster = { name: 'prod', serviceAccounts: ['interlock:agent'] };
const api = { url: 'https://10.0.0.1:6443', caFile: 'ca.crt', tokenFile: 'token' };
const issuer = { issuer: 'https://ci.example', audience: 'interlock', when: 'true', agent: 'claims.sub' };
const k8s = (change: object) => ({ k8s_psat: [{ ...cluster, ...change }] });
const oidc = (change: object) => ({ oidc: [{ ...issuer, ...change }] });

describe('a file of attestors', () => {
  test('sets up those that it names', () => {
    const roots = certificateToPem(rootOf('nodes.example', 0).der);
    const file = { ...k8s({ apiServer: api }), ...oidc({}), x509pop: { roots } };
    expect(names(JSON.stringify(file))).toEqual(['k8s_psat', 'oidc', 'x509pop']);
    expect(names('{}')).toEqual([]);
  });

  test.each<[string, object]>([
    ['TokenReview', { apiServer: api }],
    ['keys in the file', { issuer: 'https://a.example', jwks: { keys: [] } }],
    ['the keys of an API server', { issuer: 'anything', keysFrom: { url: api.url } }],
    ['an issuer that publishes its keys', { issuer: 'https://oidc.eks.eu-west-1.amazonaws.com/id/AB12' }],
  ])('may judge a cluster by %s', (_, change) => {
    expect(fault(k8s(change))).toBe('taken');
  });

  test.each<[unknown, string]>([
    ['k8s_psat: [', 'invalid_document: att.yaml is not YAML: '],
    ['a: &a [1]\nb: *a', 'invalid_document: att.yaml is not YAML: '],
    ['- 1', '"the document": Invalid input: expected object'],
    [{ k8s: [] }, '"the document": Unrecognized key: "k8s"'],
    [k8s({ name: 7 }), '"k8s_psat.0.name": '],
    [k8s({ name: 'a/b', apiServer: api }), 'cluster "a/b": its name is no path segment'],
    [k8s({ serviceAccounts: [] }), '"k8s_psat.0.serviceAccounts": '],
    [
      k8s({ serviceAccounts: ['interlock/agent'], apiServer: api }),
      '"k8s_psat.0.serviceAccounts.0": written NAMESPACE:NAME',
    ],
    [k8s({ apiserver: api }), '"k8s_psat.0": Unrecognized key: "apiserver"'],
    [
      k8s({ apiServer: { ...api, url: 'http://10.0.0.1' } }),
      '"k8s_psat.0.apiServer.url": an address that begins with https://',
    ],
    [k8s({ apiServer: { url: api.url } }), '"k8s_psat.0.apiServer.tokenFile": '],
    [k8s({ keysFrom: { url: 'x' }, issuer: 'i' }), '"k8s_psat.0.keysFrom.url": an address'],
    [k8s({}), 'cluster "prod": give it "apiServer", or "issuer" with'],
    [k8s({ issuer: 'kubernetes/serviceaccount' }), 'cluster "prod": give it "apiServer", or "issuer" with'],
    [k8s({ keysFrom: { url: api.url } }), 'cluster "prod": name the issuer of its tokens'],
    [k8s({ issuer: 'i', jwks: { keys: [] }, keysFrom: api }), 'cluster "prod": give it exactly one of'],
    [k8s({ issuer: 'i', jwks: { keys: [] }, apiServer: api }), 'cluster "prod": give it exactly one of'],
    [k8s({ issuer: 'i', jwks: 7 }), 'its keys are no JWKS'],
    [k8s({ apiServer: api, once: true }), 'a review cannot tell the first use'],
    [
      {
        k8s_psat: [
          { ...cluster, apiServer: api },
          { ...cluster, apiServer: api },
        ],
      },
      'cluster "prod": it is given twice',
    ],
    [oidc({ issuer: 'http://ci.example' }), 'issuer http://ci.example: its address must begin with https://'],
    [oidc({ audience: '' }), 'its audience is empty'],
    [oidc({ when: ' ' }), 'say in "when" whose tokens count'],
    [oidc({ when: undefined }), '"oidc.0.when": '],
    [oidc({ when: 'claims.x ==' }), '"when" is no expression'],
    [oidc({ agent: 'job.id' }), '"agent" is no expression: "job" is not known here'],
    [oidc({ claims: { team: '1 +' } }), '"claims.team" is no expression'],
    [oidc({ life: '6 hours' }), '"life" is written like 6h, not "6 hours"'],
    [oidc({ life: '10s' }), 'its life is shorter than a minute'],
    [{ oidc: [issuer, issuer] }, 'issuer https://ci.example: it is given twice'],
    [{ x509pop: { roots: 'ca.crt' } }, '"x509pop.roots": the text holds no "-----BEGIN CERTIFICATE-----"'],
    [{ x509pop: {} }, '"x509pop.roots": '],
    ['#'.repeat(1024 * 1024 + 1), 'limit: att.yaml is larger than 1 MiB'],
  ])('that says %j is refused by name', (data, message) => {
    const said = fault(data);
    expect(said).toContain(message);
    expect(said).toContain('att.yaml');
  });
});
