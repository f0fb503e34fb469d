import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { main } from '../../src/cli/cli.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import {
  type AgentAttributes,
  createRequest,
  formatBundle,
  generateKey,
  writeWorkloadAttributes,
} from '../../src/identity/index.ts';
import { realTimers, type Serving, serveIdentity } from '../../src/server/index.ts';
import { Opened } from './harness.ts';

const opened = new Opened();
let state: string;
let plane: Serving;
const AGENT = 'spiffe://example.org/interlock/agent/join_token/a-node-with-a-long-name';
const ID = 'spiffe://example.org/ns/a-long-namespace/sa/a-service-account-with-a-long-name';
const RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-account }
spec:
  spiffeId: /ns/{k8s.namespace}/sa/{k8s.service_account}
  selectors: ["k8s:ns:a-long-namespace"]
`;

/** Runs a command on a terminal of a width, or into a pipe, and gives what a person sees of it. */
async function said(
  columns: number | undefined,
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const sink = (name: keyof typeof texts) =>
    Object.assign(
      new Writable({
        write(chunk, _encoding, done) {
          texts[name] += String(chunk);
          done();
        },
      }),
      columns === undefined ? {} : { isTTY: true, columns },
    );
  const terminal = new Terminal(sink('out'), sink('err'), { NO_COLOR: '1' });
  const code = await main([...args, '--state', state], { terminal, now: Date.now });
  return { code, ...texts };
}

const log = { info: () => {}, warn: () => {}, error: () => {} };

beforeEach(async () => {
  const dir = opened.dir();
  state = join(dir, 'plane');
  expect((await said(80, 'authority', 'init', '--trust-domain', 'example.org')).code).toBe(0);
  const listen = { host: '127.0.0.1', port: 0 };
  plane = await serveIdentity({ state, listen, timers: realTimers, log, version: 'test' });
  const rules = join(dir, 'rules.yaml');
  writeFileSync(rules, RULE);
  await said(80, 'identity', 'rules', 'apply', rules);
});
afterEach(async () => {
  await plane.close();
  await opened.close();
});

/** An SVID of {@link ID}, as an agent asks for it. */
async function issue(): Promise<void> {
  const agent: AgentAttributes = {
    agent: { id: parseSpiffeId(AGENT), attestor: 'join_token' },
    selectors: [],
    claims: {},
  };
  const [namespace, service_account] = ['a-long-namespace', 'a-service-account-with-a-long-name'];
  const pod = { pod_name: 'p', pod_uid: 'u', node_name: 'n', container_name: 'c', image: 'i', labels: {} };
  const attributes = writeWorkloadAttributes({ k8s: { namespace, service_account, ...pod } });
  const request = { spiffeId: ID, rule: 'by-account', attributes };
  await plane.plane.issuing.workload(agent, request, createRequest(generateKey('ec-p256')), undefined);
}

const active = () => plane.plane.authorities.slots.find((slot) => slot.state === 'active')?.id ?? '';

/** Every line of what was printed that is wider than the terminal. */
const tooWide = (text: string, columns: number) => text.split('\n').filter((line) => line.length > columns);

describe('the lists', () => {
  const LISTS = [
    ['authority', 'show'],
    ['authority', 'agents'],
    ['authority', 'audit'],
    ['identity', 'list'],
    ['identity', 'rules', 'list'],
    ['identity', 'revoked'],
    ['federation', 'list'],
    ['cutover', 'status'],
  ];

  test('fit terminals of 80 and 120 columns, and have one line a row in a pipe', async () => {
    await issue();
    await said(80, 'identity', 'revoke', 'spiffe://example.org/a-service');
    const peer = ['other.example', '--endpoint', 'https://127.0.0.1:1/a-path-that-is-long/bundle'];
    await said(80, 'federation', 'add', ...peer);
    await said(80, 'federation', 'refresh', 'other.example');
    await said(80, 'authority', 'prepare', '--name', 'region-b');
    await said(80, 'cutover', 'start', 'to-b', '--to', 'region-b', '--share', '10%');
    await said(80, 'authority', 'prepare');
    for (const list of LISTS) {
      for (const columns of [80, 120]) {
        const { code, out } = await said(columns, ...list);
        expect([code, tooWide(out, columns)], list.join(' ')).toEqual([0, []]);
      }
      const { out } = await said(undefined, ...list);
      // No cell is continued below: each line begins with a word.
      expect(out.split('\n').filter((line) => line.startsWith('  ') && list[1] !== 'audit')).toEqual([]);
    }
    for (const columns of [80, 120, undefined])
      expect((await said(columns, 'identity', 'list')).out).toContain(ID);
  });

  test('show one identity of the control plane after a renewal', async () => {
    const { newServerIdentity } = await import('../../src/server/identity/server-identity.ts');
    await newServerIdentity(plane.plane, Date.now());
    const { out } = await said(undefined, 'identity', 'list', '--kind', 'server');
    expect(out).toContain('1 identity.');
    const all = await said(undefined, 'identity', 'list', '--kind', 'server', '--all');
    expect(all.out).toMatch(/server, dropped[^]*2 identities\./);
  });
});

test('a step of an authority is told in lines that fit', async () => {
  for (const columns of [80, 120]) {
    const { out, err } = await said(columns, 'authority', 'rotate');
    expect(out).toMatch(/prepared, waits for agents; ends [\d\s:Z-]+ \(in 29d\s23h\)/);
    expect(tooWide(out + err, Math.min(columns, 100))).toEqual([]);
  }
});

test('revoking an authority says what is live, and with --force does it', async () => {
  const first = active();
  await issue();
  const { authorities } = plane.plane;
  await authorities.activate('test', (await authorities.prepare('test')).id, true);
  const refused = await said(120, 'authority', 'revoke', first);
  expect(refused).toMatchObject({ code: 1, out: '' });
  expect(refused.err).toMatch(/SVIDs? of [^]* live \([^]*1 workload\)[^]*taint it first[^]*--force/);
  expect(await said(80, 'authority', 'revoke', first, '--force')).toMatchObject({
    code: 0,
    out: expect.stringContaining('old, revoked'),
  });
});

test('one SVID that is left is called one', async () => {
  const first = active();
  const { authorities } = plane.plane;
  await authorities.activate('test', (await authorities.prepare('test')).id, true);
  await issue();
  await said(80, 'authority', 'taint', active().slice(0, 8));
  const next = await authorities.prepare('test');
  await authorities.activate('test', next.id, true);
  const { out } = await said(
    120,
    'authority',
    'taint',
    authorities.slots.find(({ id, state }) => state === 'old' && id !== first)?.id ?? '',
  );
  expect(out).toContain('1 live SVID of it is left to be replaced.');
});

describe('revoking an identity', () => {
  test('counts its certificates, and warns where nobody has it', async () => {
    await issue();
    expect(await said(120, 'identity', 'revoke', ID)).toMatchObject({
      code: 0,
      out: expect.stringContaining('with 1 certificate:'),
      err: '',
    });
    const nobody = await said(120, 'identity', 'revoke', 'spiffe://example.org/nobody');
    expect(nobody).toMatchObject({ code: 0, out: expect.stringContaining('with 0 certificates:') });
    expect(nobody.err).toContain('0 live SVIDs');
  });

  test('by a serial number that nobody has is an error', async () => {
    expect(await said(120, 'identity', 'revoke', 'abcdef')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no certificate with this serial number is known'),
    });
  });
});

describe('federation', () => {
  const endpoint = ['--endpoint', 'https://127.0.0.1:1/bundle'];
  const proof = ['--spiffe-id', 'spiffe://other.example/interlock/server'];

  test('that was never fetched is not called fresh', async () => {
    const { out } = await said(120, 'federation', 'add', 'other.example', ...endpoint);
    expect(out).toMatch(/other\.example .* 0 .*not fetched yet/);
    expect(out).not.toContain('fresh');
  });

  test('with an endpoint that proves a SPIFFE ID needs a first bundle', async () => {
    const { code, err } = await said(120, 'federation', 'add', 'other.example', ...endpoint, ...proof);
    expect([code, err]).toEqual([1, expect.stringContaining('--bundle')]);
    const bundle = join(state, 'bundle.json');
    writeFileSync(
      bundle,
      formatBundle({ trustDomain: 'other.example', x509Authorities: [], jwtAuthorities: [] }),
    );
    const added = await said(
      120,
      'federation',
      'add',
      'other.example',
      ...endpoint,
      ...proof,
      '--bundle',
      bundle,
    );
    expect(added).toMatchObject({ code: 0, out: expect.stringContaining('not fetched yet') });
  });
});
