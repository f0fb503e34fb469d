import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  callsThatReached,
  type Endpoint,
  type Evidence,
  emptyEvidence,
  mergeEvidence,
  OUTCOMES,
  type RecordedAccess,
  Tally,
} from '../access/index.ts';
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
  });
}
