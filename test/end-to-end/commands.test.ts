import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shopLines } from '../../examples/generate-shop.ts';
import { interlock, json, scratch } from './run.ts';

const dir = scratch();
const state = ['--state', join(dir, 'state')];
const id = (name: string) => `spiffe://shop.example/ns/shop/sa/${name}`;

beforeAll(async () => {
  const log = join(dir, 'log.jsonl');
  writeFileSync(log, shopLines().join('\n'));
  const observed = await interlock(
    'observe',
    'examples/shop/manifests.yaml',
    log,
    '--trust-domain',
    'shop.example',
    ...state,
  );
  expect(observed.code).toBe(0);
});

describe('observe', () => {
  test('of files that do not exist makes no state', async () => {
    const own = join(dir, 'none');
    const { code, err } = await interlock('observe', '/nope.jsonl', '--state', own);
    expect(code).toBe(1);
    expect(err).toMatch(/there is no file/);
    expect(existsSync(own)).toBe(false);
  });

  test('detects a log whose keys only --field explains', async () => {
    const file = join(dir, 'own-keys.jsonl');
    const line = {
      when: '2026-10-20T10:00:00Z',
      verb: 'GET',
      uri: '/x',
      code: 200,
      who: id('web'),
      us: id('cart'),
      at: '10.0.0.1:8080',
    };
    writeFileSync(file, `${JSON.stringify(line)}\n`);
    const own = ['--state', join(dir, 'own-keys')];
    expect((await interlock('observe', file, ...own)).code).toBe(1);
    const fields = [
      'when=START_TIME',
      'verb=REQ(:METHOD)',
      'uri=REQ(:PATH)',
      'code=RESPONSE_CODE',
      'who=DOWNSTREAM_PEER_URI_SAN',
      'us=DOWNSTREAM_LOCAL_URI_SAN',
      'at=DOWNSTREAM_LOCAL_ADDRESS',
    ];
    const { code } = await interlock(
      'observe',
      file,
      ...fields.flatMap((field) => ['--field', field]),
      ...own,
    );
    expect(code).toBe(0);
    const [access] = await json<{ from: string; to: string; action: unknown }>('access', ...own);
    expect(access).toMatchObject({
      from: id('web'),
      to: id('cart'),
      action: { kind: 'http', port: 8080, method: 'GET', path: '/x' },
    });
  });
});

describe('propose', () => {
  const out = join(dir, 'policies');

  test('for one workload leaves the others and their doubts alone', async () => {
    await interlock('propose', '--out', out, ...state);
    const all = readdirSync(out).toSorted();
    expect(all).toContain('doubts.yaml');
    await interlock('propose', '--out', out, '--to', id('payment'), ...state);
    expect(readdirSync(out).toSorted()).toEqual([...all, 'shop.payment.doubts'].toSorted());
    expect((await interlock('rehearse', out, ...state)).code).toBe(3);
  });

  test('names files of before that still count as policies', async () => {
    writeFileSync(join(out, 'old.yaml'), '# of last year\n');
    const { err } = await interlock('propose', '--out', out, ...state);
    expect(err).toMatch(/1 file that this proposal did not write.*old\.yaml/s);
  });

  test('says where rules name no port', async () => {
    const own = ['--state', join(dir, 'portless')];
    const file = join(dir, 'portless.jsonl');
    const line = shopLines().find((text) => text.includes('"/products"')) ?? '';
    writeFileSync(
      file,
      [0, 1, 2]
        .map((s) =>
          line.replace(/"downstream_local_address":"[^"]*",/, '').replace(/\d\.\d{3}Z/, `${s}.000Z`),
        )
        .join('\n'),
    );
    await interlock('observe', file, '--trust-domain', 'shop.example', ...own);
    const { err } = await interlock('propose', '--out', join(dir, 'portless-policies'), ...own);
    expect(err).toMatch(/1 rule names no port/);
  });
});

describe('decide', () => {
  const policies = join(dir, 'by-hand');
  const ask = (...more: string[]) =>
    interlock('decide', policies, '--from', id('web'), '--to', id('cart'), '--port', '8080', ...more);

  beforeAll(() => {
    mkdirSync(policies);
    writeFileSync(
      join(policies, 'cart.yaml'),
      `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: shop }
spec:
  protects: { workload: ${id('cart')} }
  rules:
    - name: any
      from: [ { workload: ${id('web')} } ]
      to: [ { tcp: {}, ports: [ 9000 ] } ]
    - name: beta
      from: [ { workload: ${id('web')} } ]
      to: [ { http: { methods: [ GET ], paths: [ /beta ] }, ports: [ 8080 ] } ]
      when: "request.headers['x-beta'] == 'yes'"
  deny:
    - name: no-secret
      from: [ { workload: ${id('web')} } ]
      to: [ { http: { methods: [ GET ], paths: [ /secret ] }, ports: [ 9000 ] } ]
`,
    );
  });

  test('takes headers for conditions', async () => {
    const beta = ['--method', 'GET', '--path', '/beta'];
    expect((await ask(...beta, '--header', 'X-Beta=yes')).code).toBe(0);
    expect((await ask(...beta, '--header', 'X-Beta=no')).code).toBe(3);
    expect((await ask(...beta)).code).toBe(3);
  });

  test('says why a rule about requests stops a connection', async () => {
    const { out, code } = await interlock(
      'decide',
      policies,
      '--from',
      id('web'),
      '--to',
      id('cart'),
      '--port',
      '9000',
    );
    expect(code).toBe(3);
    expect(out.replaceAll('\n', ' ')).toMatch(/"no-secret".*those of a connection cannot be seen/);
  });
});

describe('readiness', () => {
  test('shows the tier of the workload in full and the others in a line', async () => {
    const { out } = await interlock('readiness', '--to', id('payment'), ...state);
    expect(out).toMatch(/For tier critical: missing .*\n +GATE/);
    expect(out).toMatch(/For tier standard: missing .*In full: --tier standard/);
  });

  test('for one tier ends with 3 where a workload is not ready', async () => {
    expect((await interlock('readiness', '--tier', 'critical', ...state)).code).toBe(3);
  });
});
