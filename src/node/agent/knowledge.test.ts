import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Bundle, formatBundle, joinBundles, type WorkloadAttributes } from '../../identity/index.ts';
import { BundleStateSchema, RuleStateSchema } from '../../proto/index.ts';
import { testDomain } from '../api/fixture.test-helper.ts';
import { AgentState } from '../state/agent-state.ts';
import { Knowledge } from './knowledge.ts';

const ID = 'spiffe://example.org/interlock/agent/join_token/n1';
const AGENT = { agent: { id: ID, attestor: 'join_token' }, selectors: [`agent:id:${ID}`], claims: {} };
const WORKLOAD: WorkloadAttributes = { unix: { uid: 1000, gid: 1000, groups: [] } };

let dir: string;
let unusable: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-knowledge-'));
  unusable = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

function opened(): Knowledge {
  const state = new AgentState(dir, () => undefined);
  return new Knowledge(state, (what, error) => unusable.push(`${what}: ${String(error)}`));
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const rule = (spiffeId: string, name = 'by-uid') =>
  json({
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'IdentityRule',
    metadata: { name },
    spec: { spiffeId, selectors: ['unix:uid:1000'] },
  });
const rules = (documents: readonly Buffer[], agent: unknown = AGENT) =>
  create(RuleStateSchema, { version: 1n, complete: true, rules: [...documents], agent: json(agent) });
const ids = (knowledge: Knowledge) => knowledge.identitiesOf(WORKLOAD).map(({ spiffeId }) => spiffeId);

async function bundlesOf(trustDomain: string) {
  const { bundle } = await testDomain(trustDomain);
  const jwks = Buffer.from(formatBundle(bundle));
  return create(BundleStateSchema, { version: 1n, trustDomain, bundles: [{ trustDomain, jwks }] });
}

describe('what an agent is told of other trust domains and regions', () => {
  test('are the domains to which IDs move, of those whose bundle it has', async () => {
    const [own, target] = await Promise.all([bundlesOf('example.org'), bundlesOf('b.example')]);
    const bundles = [...own.bundles, ...target.bundles];
    const knowledge = opened();
    const targets = ['b.example', 'c.example', 'example.org'];
    knowledge.takeBundles({ ...own, bundles, targets });
    expect(knowledge.trust().targets).toEqual(['b.example']);
    // Also after a restart without the control plane.
    expect(opened().trust().targets).toEqual(['b.example']);
  });

  test('is which roots are of another region: its control plane is none of this node', async () => {
    const [here, there] = await Promise.all([testDomain('example.org'), testDomain('example.org')]);
    const both = joinBundles('example.org', [here.bundle, there.bundle]);
    const document = (bundle: Bundle) => ({
      trustDomain: 'example.org',
      jwks: Buffer.from(formatBundle(bundle)),
    });
    const knowledge = opened();
    const state = { version: 1n, trustDomain: 'example.org', bundles: [document(both)] };
    knowledge.takeBundles(create(BundleStateSchema, { ...state, regions: document(there.bundle) }));
    const { bundles, local } = knowledge.trust();
    expect(bundles.get('example.org')?.x509Authorities).toEqual(both.x509Authorities);
    expect(local?.x509Authorities).toEqual(here.bundle.x509Authorities);
    expect(local?.jwtAuthorities).toEqual(here.bundle.jwtAuthorities);
  });
});

describe('what an agent knows', () => {
  test('includes itself, where a newer control plane says more of it', async () => {
    const knowledge = opened();
    knowledge.takeBundles(await bundlesOf('example.org'));
    const newer = { ...AGENT, agent: { ...AGENT.agent, region: 'eu' }, tpm: { pcr: [1] } };
    knowledge.takeRules(rules([rule('/web')], newer));
    expect(unusable).toEqual([]);
    expect(ids(knowledge)).toEqual(['spiffe://example.org/web']);
  });

  test('is compiled anew for another trust domain', async () => {
    const knowledge = opened();
    knowledge.takeBundles(await bundlesOf('example.org'));
    knowledge.takeRules(rules([rule('/web'), rule('spiffe://other.example/whole', 'whole')]));
    expect(ids(knowledge)).toEqual(['spiffe://example.org/web']);
    expect(unusable).toHaveLength(1);
    knowledge.takeBundles(await bundlesOf('other.example'));
    expect(ids(knowledge)).toEqual(['spiffe://other.example/web', 'spiffe://other.example/whole']);
    expect(ids(opened())).toEqual(['spiffe://other.example/web', 'spiffe://other.example/whole']);
  });

  test('forgets a rule whose new text it cannot read, also after a restart', async () => {
    const knowledge = opened();
    knowledge.takeBundles(await bundlesOf('example.org'));
    knowledge.takeRules(rules([rule('/web')]));
    const odd = { apiVersion: 'interlock.dev/v1alpha1', kind: 'IdentityRule', metadata: { name: 'by-uid' } };
    knowledge.takeRules(
      create(RuleStateSchema, { version: 2n, rules: [json({ ...odd, spec: { odd: 1 } })] }),
    );
    expect(ids(knowledge)).toEqual([]);
    expect(ids(opened())).toEqual([]);
  });
});
