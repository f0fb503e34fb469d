import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { BundleStateSchema, RevocationStateSchema, RuleStateSchema } from '../../proto/index.ts';
import type { HeldSvid } from '../svids/svid.ts';
import { AgentState, type AgentSvid } from './agent-state.ts';

let dir: string;
let damaged: string[];
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'interlock-state-')), 'agent');
  damaged = [];
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true }));

const openState = () => new AgentState(dir, (file) => damaged.push(file.slice(dir.length + 1)));

const agent: AgentSvid = {
  spiffeId: parseSpiffeId('spiffe://example.org/interlock/agent/join_token/n1'),
  chain: [Buffer.from([1, 2]), Buffer.from([3])],
  key: Buffer.from([9, 8, 7]),
  attestor: 'join_token',
};
const svid: HeldSvid = {
  spiffeId: parseSpiffeId('spiffe://example.org/web'),
  serial: '0a',
  chain: [Buffer.from([4])],
  key: Buffer.from([5]),
  notBefore: 1,
  notAfter: 2,
  authority: 'root',
};

describe("an agent's state on disk", () => {
  test('starts empty, and comes back as it was written', () => {
    const state = openState();
    expect([state.agent(), state.bundles(), state.rules(), state.revocations()]).toEqual(
      Array.from({ length: 4 }, () => undefined),
    );
    const bundles = create(BundleStateSchema, {
      version: 3n,
      trustDomain: 'example.org',
      bundles: [{ trustDomain: 'example.org', jwks: new Uint8Array([1]) }],
    });
    const rules = create(RuleStateSchema, {
      version: 7n,
      rules: [new Uint8Array([2])],
      agent: new Uint8Array([3]),
    });
    const revocations = create(RevocationStateSchema, { version: 9n, spiffeIds: ['spiffe://example.org/x'] });
    state.saveAgent(agent);
    state.saveBundles(bundles);
    state.saveRules(rules);
    state.saveRevocations(revocations);
    state.svids.save('["web"]', svid);
    const later = openState();
    expect(later.agent()).toEqual(agent);
    expect(later.bundles()).toEqual(bundles);
    expect(later.rules()).toEqual(rules);
    expect(later.revocations()).toEqual(revocations);
    expect(later.svids.load()).toEqual(new Map([['["web"]', svid]]));
    later.removeAgent();
    later.svids.remove('["web"]');
    expect(openState().agent()).toBeUndefined();
    expect(openState().svids.load().size).toBe(0);
  });

  test('is for nobody else to read', () => {
    const state = openState();
    state.saveAgent(agent);
    state.svids.save('k', svid);
    const modes = [dir, join(dir, 'agent.json'), join(dir, 'svids')].map(
      (path) => statSync(path).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o700]);
    const [file = ''] = readdirSync(join(dir, 'svids'));
    expect(statSync(join(dir, 'svids', file)).mode & 0o777).toBe(0o600);
  });

  test('is refused where others may look into its directory', () => {
    mkdirSync(dir);
    chmodSync(dir, 0o755);
    expect(openState).toThrow(expect.objectContaining({ code: 'io', subject: dir }));
    expect(openState).toThrow(/chmod 700/);
  });

  test('leaves out what is damaged, and says so', () => {
    const state = openState();
    state.saveAgent(agent);
    state.svids.save('good', svid);
    for (const name of ['agent.json', 'bundles.json', 'rules.json', 'svids/bad.json']) {
      writeFileSync(join(dir, name), '{"half');
    }
    const later = openState();
    expect(later.agent()).toBeUndefined();
    expect(later.bundles()).toBeUndefined();
    expect(later.rules()).toBeUndefined();
    expect([...later.svids.load().keys()]).toEqual(['good']);
    expect(damaged).toEqual(['agent.json', 'bundles.json', 'rules.json', 'svids/bad.json']);
  });

  test('clears away what a killed agent was writing', () => {
    openState();
    writeFileSync(join(dir, 'svids', 'x.json.123.new'), '{');
    expect(openState().svids.load().size).toBe(0);
    expect(readdirSync(join(dir, 'svids'))).toEqual([]);
    expect(damaged).toEqual([]);
  });
});
