import { describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import type { Bundle, GivenIdentity } from '../../identity/index.ts';
import { ManualTimers, settle } from '../manual-timers.test-helper.ts';
import { SvidCache } from '../svids/svid-cache.ts';
import { JwtCache, MAX_KEPT_EACH, MAX_WAITING_EACH } from './jwt-cache.ts';
import { type TrustState, WorkloadBook, type WorkloadState } from './workload-book.ts';

const HOUR = 3_600_000;

function given(name: string, more: Partial<GivenIdentity> = {}): GivenIdentity {
  return {
    rule: name,
    spiffeId: parseSpiffeId(`spiffe://example.org/${name}`),
    dnsNames: [],
    ttl: HOUR,
    jwtTtl: 300_000,
    hint: '',
    federatesWith: [],
    authority: undefined,
    ...more,
  };
}

const bundle = (trustDomain: string): Bundle => ({ trustDomain, x509Authorities: [], jwtAuthorities: [] });

function fixture() {
  const timers = new ManualTimers();
  const control = { rules: [given('web')], online: true, revoked: new Set<string>(), signed: 0 };
  const bundles = ['example.org', 'other.example'].map((name) => [name, bundle(name)] as const);
  const trust: { now: TrustState } = {
    now: {
      version: 1n,
      trustDomain: 'example.org',
      bundles: new Map(bundles),
      crls: [],
      targets: [],
      local: undefined,
    },
  };
  const svids: SvidCache = new SvidCache({
    timers,
    store: { load: () => new Map(), save: () => undefined, remove: () => undefined },
    sign: async ({ spiffeId }) => {
      if (!control.online) throw new InterlockError('unavailable', 'control plane', 'away');
      const now = timers.now();
      const serial = String(++control.signed);
      const rest = { chain: [], key: Buffer.alloc(0), authority: 'a', notBefore: now, notAfter: now + HOUR };
      return { spiffeId, serial, ...rest };
    },
    onChange: (key) => book.svidChanged(key),
    onDropped: () => undefined,
    onRefused: () => undefined,
  });
  const book: WorkloadBook = new WorkloadBook({
    timers,
    svids,
    identitiesOf: () => control.rules,
    trust: () => trust.now,
    isRevoked: (id) => control.revoked.has(id),
  });
  const told: WorkloadState[] = [];
  return { timers, control, trust, svids, book, told, listen: (state: WorkloadState) => told.push(state) };
}

const serials = ({ svids }: WorkloadState) => svids.map(({ serial }) => serial);

describe('what a workload is told', () => {
  test('begins when all of its SVIDs are signed', async () => {
    const { book, control, svids, told, listen } = fixture();
    control.rules = [given('a'), given('b')];
    book.subscribe({}, listen);
    expect(told).toEqual([]);
    svids.setOnline(true);
    await settle();
    expect(told.map(serials)).toEqual([['1', '2']]);
  });

  test('begins without them where the control plane is away for some seconds, and goes on when it is back', async () => {
    const { book, timers, svids, told, listen } = fixture();
    book.subscribe({}, listen);
    await timers.advance(4900);
    expect(told).toEqual([]);
    await timers.advance(200);
    expect(told.map(({ missing }) => missing)).toEqual(['waiting']);
    svids.setOnline(true);
    await settle();
    expect(told.map(serials)).toEqual([[], ['1']]);
  });

  test('says at once that no rule gives it anything', () => {
    const { book, control, told, listen } = fixture();
    control.rules = [];
    book.subscribe({}, listen);
    expect(told.map(({ missing }) => missing)).toEqual(['none']);
  });

  test('holds the own bundle and those that its rules federate with', async () => {
    const { book, control, svids, told, listen } = fixture();
    svids.setOnline(true);
    book.subscribe({}, listen);
    control.rules = [given('web', { federatesWith: ['other.example'] })];
    await settle();
    book.rulesChanged();
    expect(told.map(({ bundles }) => [...bundles.keys()])).toEqual([
      ['example.org'],
      ['example.org', 'other.example'],
    ]);
  });

  test('loses an identity that a rule took away or that was revoked, and keeps the rest', async () => {
    const { book, control, svids, told, listen } = fixture();
    control.rules = [given('a'), given('b'), given('c')];
    svids.setOnline(true);
    book.subscribe({}, listen);
    await settle();
    control.rules = [given('a'), given('c')];
    book.rulesChanged();
    control.revoked.add('spiffe://example.org/c');
    book.rulesChanged();
    expect(told.map(({ svids: list }) => list.map(({ spiffeId }) => spiffeId.slice(-1)).join(''))).toEqual([
      'abc',
      'ac',
      'a',
    ]);
  });

  test('shares one SVID with others of the same identity, and ends with the subscription', async () => {
    const { book, control, svids, told, listen } = fixture();
    svids.setOnline(true);
    const stop = book.subscribe({}, listen);
    book.subscribe({}, listen);
    await settle();
    expect(told.map(serials)).toEqual([['1'], ['1']]);
    stop();
    stop();
    control.rules = [given('web'), given('more')];
    book.rulesChanged();
    await settle();
    expect(told).toHaveLength(3);
    expect(svids.counts().wanted).toBe(2);
    expect(book.size).toBe(1);
  });

  test('is told anew when bundles change', async () => {
    const { book, trust, svids, told, listen } = fixture();
    svids.setOnline(true);
    book.subscribe({}, listen);
    await settle();
    trust.now = { ...trust.now, version: 2n };
    book.trustChanged();
    book.trustChanged();
    expect(told).toHaveLength(2);
  });
});

describe('JWT-SVIDs', () => {
  function tokens() {
    const timers = new ManualTimers();
    const control = {
      fail: false,
      refuse: false,
      signed: 0,
      size: 0,
      hold: undefined as Promise<void> | undefined,
      atOnce: 0,
    };
    let underWay = 0;
    const cache = new JwtCache(timers, async ({ spiffeId, jwtTtl }) => {
      control.atOnce = Math.max(control.atOnce, ++underWay);
      if (control.hold !== undefined) await control.hold;
      underWay--;
      if (control.refuse) throw new InterlockError('forbidden', 'control plane', 'not yours');
      if (control.fail) throw new InterlockError('unavailable', 'control plane', 'away');
      const issuedAt = timers.now();
      const token = String(++control.signed).padEnd(control.size);
      return { spiffeId, token, issuedAt, expiresAt: issuedAt + jwtTtl };
    });
    const get = async (audience: string[], name = 'web') =>
      (await cache.get(given(name), {}, audience)).token.trim();
    return { timers, control, cache, get };
  }

  test('are given again for half of their life, whatever the order of the audience', async () => {
    const { timers, get } = tokens();
    expect(await get(['a', 'b'])).toBe('1');
    expect(await get(['b', 'a'])).toBe('1');
    expect(await get(['b'])).toBe('2');
    await timers.advance(149_000);
    expect(await get(['a', 'b'])).toBe('1');
    await timers.advance(2000);
    expect(await get(['a', 'b'])).toBe('3');
  });

  test('serve to their end while none can be signed, and not beyond', async () => {
    const { timers, control, get } = tokens();
    await get(['a']);
    control.fail = true;
    await timers.advance(299_000);
    expect(await get(['a'])).toBe('1');
    await timers.advance(2000);
    await expect(get(['a'])).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('are signed once for all who wait, and forgotten when told', async () => {
    const { control, cache, get } = tokens();
    await Promise.all([get(['a']), get(['a']), get(['a'])]);
    expect(control.signed).toBe(1);
    cache.clear();
    expect(await get(['a'])).toBe('2');
  });

  test('that are to be signed anew serve on while none can be, and end with a refusal', async () => {
    const { timers, control, cache, get } = tokens();
    expect(await get(['a'])).toBe('1');
    cache.renewAll();
    control.fail = true;
    const patient = get(['a']);
    await timers.advance(4000);
    expect(await patient).toBe('1');
    // Nobody answered a moment ago: the next caller does not wait again.
    expect(await get(['a'])).toBe('1');
    await timers.advance(200_000);
    const later = get(['a']);
    await timers.advance(4000);
    expect(await later).toBe('1');
    control.fail = false;
    expect(await get(['a'])).toBe('2');
    expect(await get(['a'])).toBe('2');
    cache.renewAll();
    control.refuse = true;
    await expect(get(['a'])).rejects.toMatchObject({ code: 'forbidden' });
    control.refuse = false;
    expect(await get(['a'])).toBe('3');
    cache.renewAll(() => false);
    control.fail = true;
    await expect(get(['a'])).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('that are to be signed anew are waited for while the connection comes back', async () => {
    const { timers, control, cache, get } = tokens();
    expect(await get(['a'])).toBe('1');
    cache.renewAll();
    control.fail = true;
    const asked = get(['a']);
    await timers.advance(1000);
    control.fail = false;
    await timers.advance(500);
    expect(await asked).toBe('2');
  });

  test('of one workload, for ever new audiences, drive out none of another', async () => {
    const { control, get } = tokens();
    expect(await get(['a'], 'quiet')).toBe('1');
    control.size = 16_384;
    for (let i = 0; i < 3000; i++) await get([String(i)]);
    expect(await get(['a'], 'quiet')).toBe('1');
    const { signed } = control;
    expect(await get(['2999'])).toBe(String(signed));
    await get([String(3000 - MAX_KEPT_EACH / control.size - 1)]);
    expect(control.signed).toBe(signed + 1);
  });

  test('of one workload wait for each other, and too many are refused', async () => {
    const { control, get } = tokens();
    const { promise, resolve } = Promise.withResolvers<void>();
    control.hold = promise;
    const asked = Array.from({ length: 1000 }, (_, i) => get([String(i)]));
    const done = Promise.allSettled(asked);
    const other = get(['a'], 'quiet');
    await settle();
    expect(control.atOnce).toBe(9);
    resolve();
    await other;
    const refused = (await done).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(1000 - 8 - MAX_WAITING_EACH);
    expect(refused[0]).toMatchObject({ reason: { code: 'limit' } });
  });

  test('that were being signed when all were forgotten are not kept', async () => {
    const { control, cache, get } = tokens();
    const { promise, resolve } = Promise.withResolvers<void>();
    control.hold = promise;
    const before = get(['a']);
    await settle();
    cache.clear();
    const after = get(['a']);
    resolve();
    expect(await Promise.all([before, after])).toEqual(['1', '2']);
    expect(await get(['a'])).toBe('2');
  });
});
