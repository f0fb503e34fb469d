import { describe, expect, test } from 'vitest';
import { InterlockError } from '../../../access/index.ts';
import { ManualTimers, settle } from '../../../node/manual-timers.test-helper.ts';
import type { LiveNews, LiveReader } from '../../../store/index.ts';
import { accessAt, cart, FakeSink, flipAt, reporterOf, reportOf } from './evidence.test-helper.ts';
import { LiveEvidence } from './live-evidence.ts';

/** A store that several control planes keep evidence in. */
class SharedSink extends FakeSink {
  reader: LiveReader | undefined;

  follow(reader: LiveReader): void {
    this.reader = reader;
  }

  get news(): LiveNews[] {
    return this.batches.flatMap(({ batch }) => batch.news ?? []);
  }
}

function open(sink = new SharedSink()) {
  const timers = new ManualTimers();
  const faults: unknown[] = [];
  const evidence = new LiveEvidence({ sink, timers, onFault: (error) => faults.push(error) });
  const told: (number | undefined)[] = [];
  evidence.onKept((_, seq) => told.push(seq));
  return { timers, sink, faults, evidence, told, now: timers.now() };
}

const reportAt = (now: number) => reportOf(1, { accesses: [accessAt(now)], flips: [flipAt(now)] });
const shown = ({ evidence, now }: ReturnType<typeof open>) => [
  evidence.flips({})[0]?.count,
  evidence.seen(`${cart}#a`, cart, now).requests,
];

describe('evidence that several control planes keep', () => {
  test('is shown once by the one that keeps it, and once by the others', async () => {
    const [one, other] = [open(), open()];
    await one.evidence.take(reporterOf(), reportAt(one.now));
    expect([shown(one), one.told]).toEqual([[1, 1], [undefined]]);
    const [news] = one.sink.news;
    if (news === undefined) throw new Error('nothing was told');
    await one.sink.reader?.batch(1, news);
    await other.sink.reader?.batch(1, news);
    expect([shown(one), shown(other), one.told, other.told]).toEqual([[1, 1], [1, 1], [undefined], [1]]);
    // The proxy has not heard of it, and sends it to the other one: it is kept already.
    await other.evidence.take(reporterOf(), reportAt(other.now));
    expect([shown(other), other.sink.calls]).toEqual([[1, 1], 0]);
  });

  test.each([['before'], ['after']])(
    'is shown once where the answer of the store was lost, and it is heard of %s the next attempt',
    async (when) => {
      const plane = open();
      const { sink, evidence, timers, told } = plane;
      sink.losesAnswer = true;
      sink.fault = new InterlockError('unavailable', 'db', 'gone');
      const taken = evidence.take(reporterOf(), reportAt(plane.now));
      await settle();
      sink.fault = undefined;
      const [news] = sink.news;
      if (news === undefined) throw new Error('nothing was told');
      if (when === 'before') await sink.reader?.batch(1, news);
      await timers.advance(2000);
      await taken;
      if (when === 'after') await sink.reader?.batch(1, news);
      expect([shown(plane), told, sink.calls]).toEqual([[1, 1], [1], 1]);
    },
  );

  test('is read anew where some of it was missed', async () => {
    const plane = open();
    let missed = 0;
    plane.evidence.onMissed(() => missed++);
    await plane.evidence.take(reporterOf(), reportAt(plane.now));
    const [kept] = plane.evidence.flips({});
    if (kept === undefined) throw new Error('nothing was kept');
    const flips = [{ ...kept, count: 7 }];
    await plane.sink.reader?.missed(9, { kept: { marks: [], flips, plaintext: [] }, seen: [] });
    expect([plane.evidence.flips({}), missed]).toEqual([flips, 1]);
    // Of a newer version: the store is read for it.
    await plane.sink.reader?.batch(10, { id: 'x', data: { v: 99 } });
    expect([missed, plane.faults]).toEqual([2, []]);
  });
});
