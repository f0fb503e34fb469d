import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import type { Bundle, GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import { ManualTimers } from '../manual-timers.test-helper.ts';
import { SvidCache } from '../svids/svid-cache.ts';
import { fitting } from './fitting.ts';
import { IdentityQuota, MAX_PER_OWNER, MAX_PER_RULE } from './identity-quota.ts';
import { WorkloadBook, type WorkloadState } from './workload-book.ts';

const HOUR = 3_600_000;
const given = (name: string, rule = 'by-hash'): GivenIdentity => ({
  rule,
  spiffeId: parseSpiffeId(`spiffe://example.org/${name}`),
  dnsNames: [],
  ttl: HOUR,
  jwtTtl: 300_000,
  hint: '',
  federatesWith: ['peer-1', 'peer-2'],
  authority: undefined,
});
const user = (uid: number, sha256?: string): WorkloadAttributes => ({
  unix: { uid, gid: uid, groups: [], ...(sha256 === undefined ? {} : { sha256 }) },
});

describe('identities', () => {
  test('of one user are bounded, and those of another are not touched by it', async () => {
    const timers = new ManualTimers();
    const quota = new IdentityQuota(timers);
    const admitted = (n: number, uid: number) => quota.admit(given(`exe/${n}`), user(uid));
    for (let n = 0; n < MAX_PER_OWNER; n++) expect(admitted(n, 1000)).toBe(true);
    expect(admitted(MAX_PER_OWNER, 1000)).toBe(false);
    expect(quota.refused).toBe(1);
    expect(admitted(0, 1000)).toBe(true);
    expect(admitted(0, 1001)).toBe(true);
    await timers.advance(HOUR + 1);
    expect(admitted(MAX_PER_OWNER, 1000)).toBe(true);
  });

  test('that a stream holds count for as long as it does', async () => {
    const timers = new ManualTimers();
    const quota = new IdentityQuota(timers);
    for (let n = 0; n < MAX_PER_OWNER; n++) {
      quota.admit(given(String(n)), user(1));
      quota.hold(given(String(n)), user(1), 1);
    }
    await timers.advance(2 * HOUR);
    expect(quota.admit(given('more'), user(1))).toBe(false);
    quota.hold(given('0'), user(1), -1);
    expect(quota.admit(given('more'), user(1))).toBe(false);
    await timers.advance(HOUR + 1);
    expect(quota.admit(given('more'), user(1))).toBe(true);
  });

  test('of one rule are bounded, whatever users a user can be', () => {
    const quota = new IdentityQuota(new ManualTimers());
    for (let uid = 0; uid < MAX_PER_RULE; uid++)
      if (!quota.admit(given(`uid/${uid}`), user(uid))) throw new Error(`refused ${uid}`);
    expect(quota.admit(given('uid/x'), user(70_000))).toBe(false);
    expect(quota.admit(given('uid/x', 'another'), user(70_000))).toBe(true);
  });

  test('of a pod are its own, although pods run as the same user', () => {
    const quota = new IdentityQuota(new ManualTimers());
    const pod = (pod_uid: string) => ({
      ...user(0),
      k8s: { pod_uid } as NonNullable<WorkloadAttributes['k8s']>,
    });
    for (let n = 0; n < MAX_PER_OWNER; n++) quota.admit(given(String(n)), pod('a'));
    expect(quota.admit(given('more'), pod('a'))).toBe(false);
    expect(quota.admit(given('more'), pod('b'))).toBe(true);
  });
});

function bookOf(bundles: ReadonlyMap<string, Bundle>, crls: readonly Buffer[] = []) {
  const timers = new ManualTimers();
  const said: string[] = [];
  const signed: string[] = [];
  const svids: SvidCache = new SvidCache({
    timers,
    store: { load: () => new Map(), save: () => undefined, remove: () => undefined },
    sign: ({ spiffeId }) => {
      signed.push(spiffeId);
      return new Promise(() => undefined);
    },
    onChange: (key) => book.svidChanged(key),
    onDropped: () => undefined,
    onRefused: () => undefined,
  });
  const book: WorkloadBook = new WorkloadBook({
    timers,
    svids,
    identitiesOf: ({ unix }) => [given(`exe/${unix?.sha256}`)],
    trust: () => ({
      version: 1n,
      trustDomain: 'example.org',
      bundles,
      crls,
      targets: [],
      local: undefined,
    }),
    isRevoked: () => false,
    onLimit: (_, message) => said.push(message),
  });
  return { book, said, signed };
}

test('a user who starts ever new executables is told of the limit, and nothing more is signed', () => {
  const { book, said } = bookOf(new Map());
  const told: WorkloadState['missing'][] = [];
  for (let n = 0; n <= MAX_PER_OWNER; n++)
    book.subscribe(user(1000, String(n)), ({ missing }) => told.push(missing));
  expect(told).toEqual(['limit']);
  expect(said).toEqual([expect.stringContaining(`at most ${MAX_PER_OWNER} at a time`)]);
  expect(book.given(user(1000, 'x'))).toEqual([]);
  expect(book.stateOf(user(1000, 'x')).missing).toBe('limit');
  expect(book.given(user(1001, 'x'))).toHaveLength(1);
});

describe('bundles', () => {
  const bundle = (trustDomain: string, bytes: number): Bundle => ({
    trustDomain,
    x509Authorities: [Buffer.alloc(bytes)],
    jwtAuthorities: [],
  });
  const mapOf = (...all: Bundle[]) => new Map(all.map((one) => [one.trustDomain, one]));
  const MIB = 1024 * 1024;

  test('that are together larger than an answer are left out by name; the own one and small ones stay', () => {
    const all = mapOf(bundle('z-own', MIB), bundle('a', MIB), bundle('b', MIB), bundle('c', 1000));
    const { bundles, leftOut } = fitting(all, new Set(['z-own']));
    expect([...bundles.keys()]).toEqual(['z-own', 'a', 'c']);
    expect(leftOut).toEqual(['b']);
  });

  test('that fit are left as they are', () => {
    const all = mapOf(bundle('a', 1000), bundle('b', 1000));
    expect(fitting(all, new Set())).toEqual({ bundles: all, leftOut: [] });
  });

  test('of a workload are bounded, and the log hears of it', () => {
    const { book, said } = bookOf(
      mapOf(bundle('example.org', MIB), bundle('peer-1', 2 * MIB), bundle('peer-2', 10)),
    );
    expect([...book.stateOf(user(1, 'x')).bundles.keys()]).toEqual(['example.org', 'peer-2']);
    expect(said).toEqual([expect.stringContaining('federated bundles were left out')]);
  });
});

test('revocation lists that are too large for an answer are left out, the last ones first, and the log hears of it', () => {
  const list = (mebibytes: number) => Buffer.alloc(mebibytes * 1024 * 1024);
  const own = list(1);
  const small = Buffer.alloc(1000);
  const bundle = { trustDomain: 'example.org', x509Authorities: [list(1)], jwtAuthorities: [] };
  const bundles = new Map([['example.org', bundle]]);
  const { book, said } = bookOf(bundles, [own, list(1), list(1), small]);
  const { crls } = book.stateOf(user(1, 'x'));
  expect(crls.map(({ length }) => length)).toEqual([own.length, own.length, small.length]);
  expect(said).toEqual([expect.stringContaining('revocation lists were left out')]);
  expect(bookOf(bundles, [own, small]).book.stateOf(user(1, 'x')).crls).toHaveLength(2);
});
