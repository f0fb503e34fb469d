import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BundleStateSchema, RevocationStateSchema, RuleStateSchema } from '../../proto/index.ts';
import { given, testDomain } from '../api/fixture.test-helper.ts';
import type { HeldSvid } from '../svids/svid.ts';
import { AgentState, type AgentSvid } from './agent-state.ts';

if (process.getuid?.() !== 0)
  console.log('A directory of another owner is not tested: only root can make one');

let dir: string;
let damaged: string[];
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'interlock-state-')), 'agent');
  damaged = [];
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true }));

const openState = () => new AgentState(dir, (file) => damaged.push(file.slice(dir.length + 1)));

const domain = await testDomain('example.org');
const svid: HeldSvid = await domain.svid(given('web'));
const { key, chain, spiffeId } = await domain.svid(given('interlock/agent/join_token/n1'));
const agent: AgentSvid = { spiffeId, chain, key, attestor: 'join_token' };

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
    later.svids.remove('["web"]');
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

  test('leaves out what is JSON and still not an SVID, and believes of the rest only its certificate', () => {
    const state = openState();
    state.saveAgent({ ...agent, chain: [Buffer.from('no certificate')] });
    expect(openState().agent()).toBeUndefined();
    state.svids.save('good', { ...svid, serial: 'no hex', notAfter: Number.MAX_SAFE_INTEGER });
    const [file = ''] = readdirSync(join(dir, 'svids'));
    const path = join(dir, 'svids', file);
    expect(openState().svids.load()).toEqual(new Map([['good', svid]]));
    for (const change of [
      { chain: 7 },
      { chain: [null] },
      { key: {} },
      { of: 'another' },
      { authority: 1 },
    ]) {
      state.svids.save('good', svid);
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
      expect(openState().svids.load().size).toBe(0);
      expect(existsSync(path)).toBe(false);
    }
  });

  test('goes on when a file cannot be removed', () => {
    const state = openState();
    state.svids.save('k', svid);
    const [file = ''] = readdirSync(join(dir, 'svids'));
    rmSync(join(dir, 'svids', file));
    mkdirSync(join(dir, 'svids', file));
    state.svids.remove('k');
    expect(openState().svids.load().size).toBe(0);
    expect(new Set(damaged)).toEqual(new Set([`svids/${file}`]));
  });

  test.skipIf(process.getuid?.() !== 0)('is refused in a directory of somebody else', () => {
    mkdirSync(dir, { mode: 0o700 });
    chownSync(dir, 65_534, 65_534);
    expect(openState).toThrow(/belongs to user 65534/);
  });
});
