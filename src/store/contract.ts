import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  callsThatReached,
  type Endpoint,
  type Evidence,
  emptyEvidence,
  mergeEvidence,
  HOUR_MS,
  OUTCOMES,
  type RecordedAccess,
  parseSpiffeId,
  type SpiffeId,
  Tally,
} from '../access/index.ts';
import {
  flipKey,
  type LiveBatch,
  type PlaintextCaller,
  plaintextKey,
  type SeenFlip,
  type UnreachedCalls,
  unreachedKey,
  handshakeKey,
  type SeenHandshakes,
} from './live.ts';
import type { NewRecording, Store } from './store.ts';

/** A store that starts empty, and the same state opened anew. */
export interface StoreUnderTest {
  store: Store;
  reopen: () => Promise<Store>;
}

const a: Endpoint = { spiffeId: 'spiffe://example.org/ns/shop/sa/a' };
const b: Endpoint = { namespace: 'shop', workload: 'b' };
const HOUR = Date.UTC(2026, 10, 16);

let digests = 0;
/** A recording of one file whose digest no other has. */
export function recordingOf(name: string, format = 'envoy'): NewRecording {
  const digest = (++digests).toString(16).padStart(64, '0');
  return { format, files: [{ name, digest, bytes: 10 }], takenAt: HOUR };
}

/** A tally of one access with `n` calls at `at`. */
export function tallyOf(n: number, at = HOUR, path = '/'): Tally {
  const tally = new Tally('envoy');
  tally.access(a, b, { kind: 'http', port: 8080, method: 'GET', path }, 'callee').add(at, 'ok', 'a-1', n);
  tally.cover(at);
  tally.read = n;
  tally.accepted = n;
  return tally;
}

/** Evidence as plain data in one order, so that equal evidence compares equal. */
export function comparable(access: RecordedAccess) {
  const { evidence: e, ...rest } = access;
  return {
    ...structuredClone({ from: rest.from, to: rest.to, action: rest.action, side: rest.side }),
    counts: [...e.counts].toSorted(([x], [y]) => x - y),
    instances: [...e.instances].toSorted(),
    sources: [...e.sources].toSorted(),
    times: [e.firstSeen, e.lastSeen],
    flags: [e.mutual, e.plaintext],
  };
}

const sorted = (accesses: Iterable<RecordedAccess>) =>
  [...accesses].map(comparable).toSorted((x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1));

const endpoint: fc.Arbitrary<Endpoint> = fc.oneof(
  fc.constantFrom<Endpoint>(a, b, { entity: 'world' }, { ip: '10.0.0.1' }, { host: 'api.example.com' }),
  fc.record({
    namespace: fc.constantFrom('x', 'y'),
    serviceAccount: fc.string({ minLength: 1, maxLength: 2 }),
  }),
);
const call = fc.record({
  from: endpoint,
  to: endpoint,
  path: fc.constantFrom('/', '/a"b', '/\u0000', '/ä', '/{id}'),
  at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  outcome: fc.constantFrom(...OUTCOMES),
  n: fc.integer({ min: 1, max: 2 ** 40 }),
  instance: fc.string({ unit: 'binary', maxLength: 3 }),
  mutual: fc.boolean(),
});
type Call = typeof call extends fc.Arbitrary<infer T> ? T : never;

function tallyOfCalls(calls: readonly Call[], source: string): Tally {
  const tally = new Tally(source);
  for (const { from, to, path, at, outcome, n, instance, mutual } of calls) {
    const counter = tally.access(from, to, { kind: 'http', port: 80, method: 'GET', path }, 'callee');
    counter.add(at, outcome, instance, n);
    if (mutual) counter.evidence.mutual += n;
    else counter.evidence.plaintext += n;
  }
  return tally;
}

/** What adding the tallies up in memory gives: what the store has to agree with. */
function mergedInMemory(tallies: readonly Tally[]): RecordedAccess[] {
  const all = new Map<string, RecordedAccess>();
  for (const tally of tallies) {
    for (const { from, to, action, side, evidence } of tally.accesses()) {
      const key = JSON.stringify([from, to, action, side]);
      const known: { evidence: Evidence } = all.get(key) ?? { evidence: emptyEvidence() };
      all.set(key, { from, to, action, side, evidence: mergeEvidence(known.evidence, evidence) });
    }
  }
  return [...all.values()];
}

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');

/** A batch of nothing but what is given. */
export function batchOf(over: Partial<LiveBatch> = {}): LiveBatch {
  const nothing = { marks: [], flips: [], plaintext: [], coverage: [], settled: [], forgotten: [] };
  return { at: HOUR, ...nothing, ...over };
}

/** A mark of one reporter. */
export const markOf = (sequence: number, epoch = 'e1', reporter = 'proxy-1') => ({
  reporter,
  epoch,
  sequence,
});

/** A flip of `count` sightings at one time. */
export function flipOf(count: number, at = HOUR, over: Partial<SeenFlip> = {}): SeenFlip {
  return {
    from: { kind: 'unauthenticated', from: '10.0.0.9' },
    to: cart,
    action: { kind: 'http', port: 80, method: 'GET', path: '/a' },
    before: { allowed: true, decidedBy: 'no-policy' },
    after: { allowed: false, decidedBy: 'no-rule' },
    refused: false,
    count,
    firstSeen: at,
    lastSeen: at,
    ...over,
  };
}

/** A plaintext caller with so many connections. */
export function plaintextOf(connections: number, from = '10.0.0.9', at = HOUR): PlaintextCaller {
  return { to: cart, port: 80, from, connections, firstSeen: at, lastSeen: at };
}

/** So many calls that did not arrive. */
export function unreachedOf(count: number, detail = 'refused', at = HOUR): UnreachedCalls {
  const peer = parseSpiffeId('spiffe://example.org/ns/shop/sa/db');
  const where = { host: '10.0.0.8', port: 8443, reason: 'unreachable' } as const;
  return { from: cart, peer, ...where, detail, count, firstSeen: at, lastSeen: at };
}

/** The suite that every store passes. `open` gives a new, empty one for each test. */
export function describeStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`the contract of ${name}`, () => {
    test('starts empty', async () => {
      const { store } = await open();
      expect(await store.accesses()).toEqual([]);
      expect(await store.blindSpots()).toEqual([]);
      expect(await store.facts()).toEqual([]);
      expect(await store.recordings()).toEqual([]);
      expect(await store.digests()).toEqual(new Set());
      expect(await store.carry('otlp')).toBeUndefined();
      expect(await store.setting('trustDomain')).toBeUndefined();
    });

    test('gives back what a recording said, also to a process that opens it later', async () => {
      const { store, reopen } = await open();
      const tally = tallyOf(7);
      tally.skip('not JSON', 3, '{"broken');
      tally.lose('ring buffer', 12);
      const recording = recordingOf('one.log');
      expect(await store.addRecording(recording, tally)).toBe(true);
      await store.close();
      const later = await reopen();
      expect(sorted(await later.accesses())).toEqual(sorted(tally.accesses()));
      expect(await later.recordings()).toEqual([
        {
          ...recording,
          read: 7,
          accepted: 7,
          skips: [{ reason: 'not JSON', count: 1, firstLine: 3, sample: '{"broken' }],
          lost: new Map([['ring buffer', 12]]),
          firstSeen: HOUR,
          lastSeen: HOUR,
        },
      ]);
      expect(await later.digests()).toEqual(new Set(recording.files.map((file) => file.digest)));
    });

    test('adds the recordings of one access up as mergeEvidence does, in any split', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(call, { maxLength: 30 }), { minLength: 1, maxLength: 4 }),
          async (parts) => {
            const { store } = await open();
            const tallies = parts.map((calls, i) => tallyOfCalls(calls, `source${i}`));
            for (const tally of tallies) await store.addRecording(recordingOf('part'), tally);
            expect(sorted(await store.accesses())).toEqual(sorted(mergedInMemory(tallies)));
            await store.close();
          },
        ),
        { numRuns: 25 },
      );
    });

    test('takes a file in once, under whatever name it comes again', async () => {
      const { store } = await open();
      const recording = recordingOf('one.log');
      await store.addRecording(recording, tallyOf(1));
      const again = { ...recording, files: recording.files.map((file) => ({ ...file, name: 'two.log' })) };
      expect(await store.addRecording(again, tallyOf(1), { kept: 1 })).toBe(false);
      const both = { ...recording, files: [...recordingOf('new.log').files, ...recording.files] };
      expect(await store.addRecording(both, tallyOf(1))).toBe(false);
      expect((await store.accesses()).map((access) => callsThatReached(access.evidence))).toEqual([1]);
      expect(await store.recordings()).toHaveLength(1);
      expect(await store.carry('envoy')).toBeUndefined();
    });

    test('holds nothing of a recording that failed half-way, and goes on working', async () => {
      const { store } = await open();
      await store.addRecording(recordingOf('good.log'), tallyOf(1));
      const broken = tallyOf(5, HOUR, '/other');
      broken.facts = () => {
        throw new Error('stops here');
      };
      await expect(store.addRecording(recordingOf('bad.log'), broken)).rejects.toThrow('stops here');
      expect((await store.accesses()).map(({ action }) => action)).toEqual([
        { kind: 'http', port: 8080, method: 'GET', path: '/' },
      ]);
      expect(await store.recordings()).toHaveLength(1);
      expect(await store.addRecording(recordingOf('next.log'), tallyOf(1, HOUR, '/next'))).toBe(true);
      expect(await store.accesses()).toHaveLength(2);
    });

    test('adds blind spots up, and leaves out those that a later match has closed', async () => {
      const { store } = await open();
      const spot = (what: string, at: number, n: number) => {
        const tally = new Tally('otlp');
        tally.blindSpot(
          { kind: 'client-only', from: a, to: b, what, action: { kind: 'tcp', port: 6379 } },
          at,
          n,
        );
        return store.addRecording(recordingOf('spans', 'otlp'), tally);
      };
      await spot('redis GET', HOUR, 3);
      await spot('redis GET', HOUR - 5, 2);
      await spot('sql', HOUR, 2);
      await spot('sql', HOUR, -2);
      expect(await store.blindSpots()).toEqual([
        {
          kind: 'client-only',
          from: a,
          to: b,
          what: 'redis GET',
          action: { kind: 'tcp', port: 6379 },
          count: 5,
          firstSeen: HOUR - 5,
          lastSeen: HOUR,
        },
      ]);
    });

    test('replaces the facts of an object and keeps those of others', async () => {
      const { store } = await open();
      const add = (ips: string[], name = 'n1') => {
        const tally = new Tally('kubernetes');
        tally.fact(`node ${name}`, { fact: 'node', name, ips });
        return store.addRecording(recordingOf('nodes', 'kubernetes'), tally);
      };
      await add(['10.0.0.1']);
      await add(['10.0.0.3'], '__proto__');
      await add(['10.0.0.2']);
      expect(new Set(await store.facts())).toEqual(
        new Set([
          { fact: 'node', name: 'n1', ips: ['10.0.0.2'] },
          { fact: 'node', name: '__proto__', ips: ['10.0.0.3'] },
        ]),
      );
      expect((await store.recordings())[0]?.firstSeen).toBe(Number.POSITIVE_INFINITY);
    });

    test('keeps settings, and what a format carries over to its next recording', async () => {
      const { store, reopen } = await open();
      await store.setSetting('trustDomain', 'example.org');
      await store.setSetting('trustDomain', 'example.com');
      await store.addRecording(recordingOf('1', 'otlp'), tallyOf(1), { open: [1] });
      await store.addRecording(recordingOf('2', 'otlp'), tallyOf(1), { open: [2] });
      await store.addRecording(recordingOf('3', 'otlp'), tallyOf(1));
      await store.close();
      const later = await reopen();
      expect(await later.setting('trustDomain')).toBe('example.com');
      expect(await later.carry('otlp')).toEqual({ open: [2] });
      expect(await later.carry('envoy')).toBeUndefined();
    });

    test('adds live evidence up in one recording for each source and day', async () => {
      const { store, reopen } = await open();
      const lossy = tallyOf(2, HOUR + 5000);
      lossy.lose('proxy', 4);
      lossy.skip('nonsense', 0, 'x');
      expect(await store.addLive(batchOf({ marks: [markOf(1)] }), [tallyOf(3)])).toEqual([]);
      expect(await store.addLive(batchOf({ marks: [markOf(2)], at: HOUR + 1 }), [lossy])).toEqual([]);
      await store.addLive(batchOf({ marks: [markOf(3)], at: HOUR + 86_400_000 }), [
        tallyOf(1),
        new Tally('proxy'),
      ]);
      await store.close();
      const later = await reopen();
      expect(await later.recordings()).toMatchObject([
        {
          format: 'envoy',
          files: [],
          read: 5,
          accepted: 5,
          lost: new Map([['proxy', 4]]),
          skips: [{ reason: 'nonsense', count: 1 }],
          firstSeen: HOUR,
          lastSeen: HOUR + 5000,
        },
        { format: 'envoy', read: 1 },
        { format: 'proxy', read: 0 },
      ]);
      expect((await later.accesses()).map(({ evidence }) => callsThatReached(evidence))).toEqual([6]);
    });

    test('says of each recording whom it names and when it recorded, and what it lost', async () => {
      const { store, reopen } = await open();
      const tally = tallyOf(2, HOUR + 3 * HOUR_MS);
      tally.access(a, b, { kind: 'tcp', port: 1 }, 'callee').add(HOUR, 'failed');
      tally.accepted = 3;
      tally.lose('ring buffer', 5);
      tally.lose('socket', 1);
      const ghost: Endpoint = { ip: '10.0.0.9' };
      tally.blindSpot({ kind: 'client-only', from: b, to: ghost, what: 'x' }, HOUR);
      await store.addRecording(recordingOf('1'), tally);
      const inventory = new Tally('kubernetes');
      inventory.fact('node n', { fact: 'node', name: 'n', ips: [] });
      await store.addRecording(recordingOf('2', 'kubernetes'), inventory);
      await store.addRecording(recordingOf('3', 'otlp'), new Tally('otlp'));
      await store.close();
      const hour = HOUR / HOUR_MS;
      const coverage = await (await reopen()).coverage();
      expect(coverage).toMatchObject([
        { source: 'envoy', events: 3, lost: 6, callees: [b], hours: [hour, hour + 3] },
        { source: 'otlp', events: 0, lost: 0, callees: [], others: [], hours: [] },
      ]);
      expect(new Set(coverage[0]?.others)).toEqual(new Set([a, b, ghost]));
    });

    test('adds the coverage of points up by workload and source, and tells it from recordings of files', async () => {
      const { store, reopen } = await open();
      const hour = HOUR / HOUR_MS;
      const of = (workload: SpiffeId, source: string, hours: number[], events: number, lost: number) => ({
        workload,
        source,
        hours,
        events,
        lost,
      });
      const day = HOUR + 86_400_000;
      await store.addLive(
        batchOf({ coverage: [of(cart, 'proxy', [hour + 1, hour], 4, 1), of(web, 'proxy', [], 0, 7)] }),
        [tallyOf(4)],
      );
      await store.addLive(batchOf({ at: day, coverage: [of(cart, 'proxy', [hour, hour + 23], 2, 0)] }), []);
      await store.addLive(batchOf({ at: day, coverage: [of(cart, 'envoy', [hour + 24], 1, 1)] }), []);
      // Whole or not at all: the mark is known.
      await store.addLive(batchOf({ marks: [markOf(1)] }), []);
      await store.addLive(batchOf({ marks: [markOf(1)], coverage: [of(cart, 'proxy', [1], 9, 9)] }), []);
      await store.close();
      const covered = (
        spiffeId: SpiffeId,
        source: string,
        hours: number[],
        events: number,
        lost: number,
      ) => ({
        source,
        events,
        lost,
        callees: [{ spiffeId }],
        others: [],
        hours,
      });
      expect(new Set(await (await reopen()).coverage())).toEqual(
        new Set([
          covered(cart, 'proxy', [hour, hour + 1, hour + 23], 6, 1),
          covered(cart, 'envoy', [hour + 24], 1, 1),
          covered(web, 'proxy', [], 0, 7),
        ]),
      );
    });

    test('keeps no report twice, nor anything of a batch with one that was kept', async () => {
      const { store } = await open();
      await store.addLive(batchOf({ marks: [markOf(7), markOf(6)] }), [tallyOf(1)]);
      const again = batchOf({
        marks: [markOf(7), markOf(8)],
        flips: [flipOf(1)],
        plaintext: [plaintextOf(1)],
      });
      expect(await store.addLive(again, [tallyOf(1)])).toEqual([markOf(7)]);
      expect(await store.addLive(batchOf({ marks: [markOf(5)] }), [tallyOf(1)])).toEqual([markOf(5)]);
      expect(await store.live()).toEqual({ marks: [markOf(7)], flips: [], plaintext: [] });
      expect((await store.accesses()).map(({ evidence }) => callsThatReached(evidence))).toEqual([1]);
      // Another epoch and another reporter count for themselves.
      const others = [markOf(1, 'e2'), markOf(1, 'e1', 'proxy-2')];
      expect(await store.addLive(batchOf({ marks: others }), [])).toEqual([]);
    });

    test('forgets marks of epochs that nobody has used for thirty days', async () => {
      const { store } = await open();
      await store.addLive(batchOf({ marks: [markOf(1, 'old'), markOf(1, 'new')] }), []);
      await store.addLive(batchOf({ marks: [markOf(2, 'new')], at: HOUR + 29 * 86_400_000 }), []);
      await store.addLive(batchOf({ marks: [markOf(1, 'x', 'y')], at: HOUR + 31 * 86_400_000 }), []);
      expect((await store.live()).marks).toEqual([markOf(2, 'new'), markOf(1, 'x', 'y')]);
    });

    test('a reporter that makes up epochs fills nothing', async () => {
      const { store } = await open();
      for (let i = 0; i < 50; i++)
        await store.addLive(batchOf({ marks: [markOf(1, `e${i}`)], at: HOUR + i }), []);
      const { marks } = await store.live();
      expect(marks).toHaveLength(32);
      expect(marks.at(-1)).toEqual(markOf(1, 'e49'));
    });

    test('adds flips and plaintext callers up, and forgets those that are settled or have to make room', async () => {
      const { store, reopen } = await open();
      const other = flipOf(1, HOUR, { to: parseSpiffeId('spiffe://example.org/ns/shop/sa/web') });
      await store.addLive(batchOf({ flips: [flipOf(2), other], plaintext: [plaintextOf(1)] }), []);
      await store.addLive(
        batchOf({ flips: [flipOf(3, HOUR + 9)], plaintext: [plaintextOf(4, '10.0.0.9', HOUR - 9)] }),
        [],
      );
      await store.close();
      const later = await reopen();
      expect(await later.live()).toEqual({
        marks: [],
        flips: [other, { ...flipOf(5), lastSeen: HOUR + 9 }],
        plaintext: [{ ...plaintextOf(5), firstSeen: HOUR - 9 }],
      });
      await later.addLive(batchOf({ settled: [cart], flips: [flipOf(1, HOUR + 20)] }), []);
      expect((await later.live()).flips).toEqual([other, flipOf(1, HOUR + 20)]);
      await later.addLive(batchOf({ forgotten: [flipKey(other), plaintextKey(plaintextOf(1))] }), []);
      expect(await later.live()).toMatchObject({ flips: [{ to: cart }], plaintext: [] });
    });

    test('adds calls that did not arrive up, with what was said of the last one', async () => {
      const { store, reopen } = await open();
      const other: UnreachedCalls = { ...unreachedOf(1), reason: 'owner' };
      await store.addLive(batchOf({ unreached: [unreachedOf(2), other] }), []);
      await store.addLive(
        batchOf({ unreached: [unreachedOf(3, 'no answer', HOUR + 9)], settled: [cart] }),
        [],
      );
      await store.close();
      const later = await reopen();
      const sum = { ...unreachedOf(5, 'no answer'), lastSeen: HOUR + 9 };
      expect((await later.live()).unreached).toEqual([other, sum]);
      await later.addLive(batchOf({ forgotten: [unreachedKey(other)] }), []);
      expect((await later.live()).unreached).toEqual([sum]);
    });

    test('adds handshakes up by pair and group', async () => {
      const { store, reopen } = await open();
      const seen = (group: string, count: number, at = HOUR): SeenHandshakes => ({
        from: { kind: 'unauthenticated', from: '10.0.0.1' },
        to: cart,
        group,
        count,
        firstSeen: at,
        lastSeen: at,
      });
      await store.addLive(batchOf({ handshakes: [seen('x25519', 2), seen('X25519MLKEM768', 1)] }), []);
      await store.addLive(batchOf({ handshakes: [seen('x25519', 3, HOUR + 9)], settled: [cart] }), []);
      await store.close();
      const later = await reopen();
      const sum = { ...seen('x25519', 5), lastSeen: HOUR + 9 };
      expect((await later.live()).handshakes).toEqual([seen('X25519MLKEM768', 1), sum]);
      await later.addLive(batchOf({ forgotten: [handshakeKey(sum)] }), []);
      expect((await later.live()).handshakes).toEqual([seen('X25519MLKEM768', 1)]);
    });
  });
}
