import { describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import type { GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import { ManualTimers, settle } from '../manual-timers.test-helper.ts';
import { type HeldSvid, svidKey } from './svid.ts';
import { SvidCache } from './svid-cache.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

function identity(name: string): GivenIdentity {
  return {
    rule: name,
    spiffeId: parseSpiffeId(`spiffe://example.org/${name}`),
    dnsNames: [],
    ttl: HOUR,
    jwtTtl: 5 * MINUTE,
    hint: '',
    federatesWith: [],
    authority: undefined,
  };
}

/** A cache whose control plane signs what it is asked, unless `refuse` says otherwise. */
function fixture(before: ReadonlyMap<string, HeldSvid> = new Map()) {
  const timers = new ManualTimers();
  const disk = new Map(before);
  const log = { changed: [] as string[], dropped: [] as string[], asked: [] as string[], atOnce: 0 };
  const askedWith: WorkloadAttributes[] = [];
  const control = { refuse: undefined as InterlockError | undefined, hold: false, authority: 'one' };
  const held: (() => void)[] = [];
  let serial = 0;
  let underWay = 0;
  const cache = new SvidCache({
    timers,
    store: {
      load: () => disk,
      save: (key, svid) => void disk.set(key, svid),
      remove: (key) => void disk.delete(key),
    },
    sign: async ({ spiffeId, ttl }, attributes, replaces) => {
      askedWith.push(attributes);
      log.asked.push(`${spiffeId} ${replaces ?? '-'}`);
      log.atOnce = Math.max(log.atOnce, ++underWay);
      if (control.hold) await new Promise<void>((resolve) => held.push(resolve));
      underWay--;
      if (control.refuse !== undefined) throw control.refuse;
      const now = timers.now();
      const { authority } = control;
      const svid = {
        spiffeId,
        chain: [],
        key: Buffer.alloc(0),
        authority,
        notBefore: now,
        notAfter: now + ttl,
      };
      return { ...svid, serial: String(++serial) };
    },
    onChange: (key) => log.changed.push(key),
    onDropped: (serials) => log.dropped.push(...serials),
    onRefused: () => undefined,
  });
  return { timers, disk, log, askedWith, control, held, cache };
}

const serialOf = (svid: HeldSvid | string) => (typeof svid === 'string' ? svid : svid.serial);

describe('the SVIDs of an agent', () => {
  test('are signed when first wanted, once for all who want the same', async () => {
    const { cache, log } = fixture();
    cache.setOnline(true);
    const key = cache.want(identity('a'), {});
    expect(cache.want(identity('a'), {})).toBe(key);
    expect(cache.get(key)).toBe('waiting');
    await settle();
    expect(serialOf(cache.get(key))).toBe('1');
    expect(log.asked).toHaveLength(1);
    expect(log.changed).toEqual([key]);
  });

  test('are renewed around half of their life, and say which one they replace', async () => {
    const { cache, timers, log } = fixture();
    cache.setOnline(true);
    const key = cache.want(identity('a'), {});
    await settle();
    await timers.advance(29 * MINUTE);
    expect(log.asked).toHaveLength(1);
    await timers.advance(2 * MINUTE);
    expect(log.asked).toEqual(['spiffe://example.org/a -', 'spiffe://example.org/a 1']);
    expect(serialOf(cache.get(key))).toBe('2');
  });

  test('spread their renewals over a tenth of their life', async () => {
    const due = async (chance: number) => {
      const { cache, timers, log } = fixture();
      timers.chance = chance;
      cache.setOnline(true);
      cache.want(identity('a'), {});
      await settle();
      let minutes = 0;
      while (log.asked.length < 2) await timers.advance(MINUTE).then(() => minutes++);
      return minutes;
    };
    expect(await due(0)).toBe(27);
    expect(await due(0.999)).toBe(33);
  });

  test('stay valid to their end while the control plane is away, and are signed as soon as it is back', async () => {
    const { cache, timers, log } = fixture();
    cache.setOnline(true);
    const key = cache.want(identity('a'), {});
    await settle();
    cache.setOnline(false);
    await timers.advance(59 * MINUTE);
    expect(serialOf(cache.get(key))).toBe('1');
    await timers.advance(2 * MINUTE);
    expect(serialOf(cache.get(key))).not.toBe('1');
    cache.setOnline(true);
    await settle();
    expect(serialOf(cache.get(key))).toBe('2');
    expect(log.asked).toHaveLength(2);
  });

  test('tell their workload when they end and no new one came', async () => {
    const { cache, timers, log, control } = fixture();
    cache.setOnline(true);
    const key = cache.want(identity('a'), {});
    await settle();
    control.refuse = new InterlockError('unavailable', 'control plane', 'away');
    await timers.advance(59 * MINUTE);
    log.changed.length = 0;
    await timers.advance(2 * MINUTE);
    expect(log.changed).toContain(key);
    expect(serialOf(cache.get(key))).toBe('refused');
  });

  test('are asked for in waves, however many workloads there are', async () => {
    const { cache, log, control, held } = fixture();
    control.hold = true;
    for (let i = 0; i < 1000; i++) cache.want(identity(`w${i}`), {});
    expect(log.asked).toHaveLength(0);
    cache.setOnline(true);
    while (cache.counts().held < 1000) {
      await settle();
      for (const release of held.splice(0)) release();
    }
    expect(log.asked).toHaveLength(1000);
    expect(log.atOnce).toBe(64);
  });

  test('wait longer after each failure, and never longer than a minute', async () => {
    const { cache, timers, log, control } = fixture();
    control.refuse = new InterlockError('unavailable', 'control plane', 'busy');
    cache.setOnline(true);
    cache.want(identity('a'), {});
    const times: number[] = [];
    let asked = 0;
    for (let second = 0; second < 600; second++) {
      await timers.advance(1000);
      if (log.asked.length > asked) times.push(second);
      asked = log.asked.length;
    }
    const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    expect(gaps.slice(0, 5)).toEqual(gaps.slice(0, 5).toSorted((a, b) => a - b));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(60);
    expect(asked).toBeLessThan(25);
  });

  test('of a tainted authority are replaced evenly over the time given, and never missing', async () => {
    const { cache, timers, control } = fixture();
    cache.setOnline(true);
    const keys = Array.from({ length: 100 }, (_, i) => cache.want(identity(`w${i}`), {}));
    while (cache.counts().held < 100) await settle();
    control.authority = 'two';
    expect(cache.replaceAll('one', 10_000)).toBe(100);
    const left = () =>
      keys.filter((key) => {
        const svid = cache.get(key);
        if (typeof svid === 'string') throw new Error(`${key} has none`);
        return svid.authority === 'one';
      }).length;
    expect(left()).toBe(100);
    await timers.advance(5000);
    expect(left()).toBeGreaterThan(45);
    expect(left()).toBeLessThan(55);
    await timers.advance(5000);
    expect(left()).toBe(0);
  });

  test('that a tainted authority signed just before are replaced as well', async () => {
    const { cache, timers, control, held } = fixture();
    cache.setOnline(true);
    control.hold = true;
    const key = cache.want(identity('a'), {});
    await settle();
    cache.replaceAll('one', 1000);
    control.hold = false;
    held[0]?.();
    await settle();
    control.authority = 'two';
    await timers.advance(2000);
    const svid = cache.get(key);
    expect(typeof svid === 'string' ? svid : svid.authority).toBe('two');
  });

  test('of an authority that signs again later are not replaced without end', async () => {
    const { cache, timers, control, log } = fixture();
    cache.setOnline(true);
    cache.want(identity('a'), {});
    await settle();
    control.authority = 'two';
    cache.replaceAll('one', 0);
    await timers.advance(2000);
    expect(log.asked).toHaveLength(2);
    control.authority = 'one';
    cache.replaceAll('two', 0);
    await timers.advance(60_000);
    expect(log.asked).toHaveLength(3);
  });

  test('that are revoked go at once', async () => {
    const { cache, control, disk } = fixture();
    cache.setOnline(true);
    const key = cache.want(identity('a'), {});
    await settle();
    control.refuse = new InterlockError('forbidden', 'a', 'it is revoked');
    cache.revoke(({ serial }) => serial === '1');
    expect(serialOf(cache.get(key))).toBe('waiting');
    expect(disk.size).toBe(0);
    await settle();
    expect(serialOf(cache.get(key))).toBe('refused');
  });

  test('come back from disk without being signed again, those that have ended do not', async () => {
    const first = fixture();
    first.cache.setOnline(true);
    first.cache.want(identity('a'), {});
    first.cache.want(identity('ended'), {});
    await settle();
    first.cache.close();
    const ended = svidKey(identity('ended'));
    const old = { ...first.disk.get(ended), notAfter: first.timers.now() } as HeldSvid;
    const { cache, log, disk } = fixture(first.disk.set(ended, old));
    expect([...disk.keys()]).toEqual([svidKey(identity('a'))]);
    expect(serialOf(cache.get(cache.want(identity('a'), {})))).toBe('1');
    expect(cache.held()).toEqual(['1']);
    cache.setOnline(true);
    await settle();
    expect(log.asked).toEqual([]);
  });

  test('that have ended when they arrive are no use, and are not asked for again and again', async () => {
    const { cache, timers, log } = fixture();
    cache.setOnline(true);
    const key = cache.want({ ...identity('a'), ttl: -5 * MINUTE }, {});
    await timers.advance(10 * MINUTE);
    expect(serialOf(cache.get(key))).toBe('refused');
    expect(log.asked.length).toBeLessThan(25);
  });

  test('are dropped some minutes after the last workload left, and the control plane is told', async () => {
    const { cache, timers, log, disk } = fixture();
    cache.setOnline(true);
    const attributes = {};
    const key = cache.want(identity('a'), attributes);
    await settle();
    cache.release(key, attributes);
    await timers.advance(5 * MINUTE);
    expect(serialOf(cache.get(cache.want(identity('a'), attributes)))).toBe('1');
    cache.release(key, attributes);
    await timers.advance(11 * MINUTE);
    expect(log.dropped).toEqual(['1']);
    expect(disk.size).toBe(0);
    expect(timers.waiting).toBe(0);
  });

  test('are renewed with the attributes of a workload that is still there, not of one that has gone', async () => {
    const { cache, timers, askedWith } = fixture();
    cache.setOnline(true);
    const [stays, goes] = [
      { unix: { uid: 1, gid: 1, groups: [] } },
      { unix: { uid: 2, gid: 2, groups: [] } },
    ];
    cache.want(identity('a'), stays);
    const key = cache.want(identity('a'), goes);
    cache.release(key, goes);
    await timers.advance(40 * MINUTE);
    expect(askedWith).toEqual([stays, stays]);
  });

  test('that are refused for one workload are asked for with the next that shares the identity', async () => {
    const { cache, timers, askedWith, control } = fixture();
    const [first, second] = [
      { unix: { uid: 1, gid: 1, groups: [] } },
      { unix: { uid: 2, gid: 2, groups: [] } },
    ];
    const key = cache.want(identity('a'), first);
    cache.want(identity('a'), second);
    control.refuse = new InterlockError('forbidden', 'a', 'not for this workload');
    cache.setOnline(true);
    await settle();
    control.refuse = undefined;
    await timers.advance(2000);
    expect(askedWith).toEqual([first, second]);
    expect(serialOf(cache.get(key))).toBe('1');
  });

  test('are asked for again in time, however often workloads come and go meanwhile, and no timers pile up', async () => {
    const { cache, timers, log, control } = fixture();
    cache.setOnline(true);
    const attributes = {};
    const key = cache.want(identity('a'), attributes);
    await settle();
    control.refuse = new InterlockError('unavailable', 'control plane', 'busy');
    await timers.advance(59 * MINUTE + 30_000);
    control.refuse = undefined;
    const before = log.asked.length;
    const coming = {};
    for (let i = 0; i < 700; i++) {
      cache.release(cache.want(identity('a'), coming), coming);
      await timers.advance(100);
    }
    expect(log.asked.length).toBe(before + 1);
    expect(serialOf(cache.get(key))).toBe('2');
    expect(timers.waiting).toBe(1);
  });
});
