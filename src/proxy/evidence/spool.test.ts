import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, test } from 'vitest';
import { ReportSchema } from '../../proto/proxy/index.ts';
import { Aggregator } from './aggregator.ts';
import { callerOf, NOW, servedOf } from './evidence.test-helper.ts';
import { Spool, type SpoolOptions } from './spool.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});
function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-spool-'));
  dirs.push(dir);
  return join(dir, 'reports');
}

async function open(dir: string, over: Partial<SpoolOptions> = {}) {
  const faults: unknown[] = [];
  const spool = await Spool.open({ dir, now: () => NOW, onFault: (error) => faults.push(error), ...over });
  return { spool, faults };
}

const drained = (calls: number, lost = 0, text = '') => ({
  report: create(ReportSchema, { lost: BigInt(lost), accesses: [{ to: text, ok: BigInt(calls) }] }),
  calls,
});
const texts = async (spool: Spool) => (await spool.after(0, 100)).map(({ accesses }) => accesses[0]?.ok);

test('a directory that cannot be made says why', async () => {
  const file = newDir();
  writeFileSync(file, '');
  await expect(open(join(file, 'reports'))).rejects.toThrow(
    `evidence cannot be kept in ${file}/reports (ENOTDIR): make a state directory that this program's user owns`,
  );
});

describe('reports', () => {
  test('wait in their order, with numbers that grow, until they are taken', async () => {
    const { spool } = await open(newDir());
    for (const calls of [1, 2, 3]) spool.add(drained(calls));
    const all = await spool.after(0, 100);
    expect(all.map(({ accesses }) => accesses[0]?.ok)).toEqual([1n, 2n, 3n]);
    const numbers = all.map(({ sequence }) => Number(sequence));
    expect(numbers).toEqual([NOW, NOW + 1, NOW + 2]);
    expect((await spool.after(NOW, 1)).map(({ sequence }) => Number(sequence))).toEqual([NOW + 1]);
    spool.taken(NOW + 1);
    spool.taken(999);
    expect([await texts(spool), spool.size]).toEqual([[1n, 3n], 2]);
  });

  test('outlive the process, are read by their owner alone, and their numbers go on growing', async () => {
    const dir = newDir();
    const first = await open(dir);
    first.spool.add(drained(1));
    first.spool.add(drained(2));
    await first.spool.settled();
    expect(readdirSync(dir)).toHaveLength(2);
    expect([statSync(dir).mode & 0o777, statSync(join(dir, readdirSync(dir)[0] ?? '')).mode & 0o777]).toEqual(
      [0o700, 0o600],
    );
    // The clock has gone back meanwhile.
    const second = await open(dir, { now: () => NOW - 1e9 });
    second.spool.add(drained(3));
    const all = await second.spool.after(0, 100);
    expect(all.map(({ sequence }) => Number(sequence))).toEqual([NOW, NOW + 1, NOW + 2]);
    expect(
      all
        .map(({ epoch }) => Buffer.from(epoch).toString('hex'))
        .map((epoch, i, list) => epoch === list[0] && i < 2),
    ).toEqual([true, true, false]);
    for (const { sequence } of all) second.spool.taken(Number(sequence));
    await second.spool.settled();
    expect(readdirSync(dir)).toEqual([]);
  });

  test('past the limit go, the oldest first, and are counted as lost with what they said was lost', async () => {
    const dir = newDir();
    const { spool } = await open(dir, { limit: 250 });
    for (let i = 1; i <= 10; i++) spool.add(drained(i, 100, 'x'.repeat(40)));
    const left = await texts(spool);
    expect(left.at(-1)).toBe(10n);
    expect(left.length).toBeLessThan(10);
    const gone = 10 - left.length;
    expect(spool.takeLost()).toBe((gone * (gone + 1)) / 2 + gone * 100);
    expect(spool.takeLost()).toBe(0);
    await spool.settled();
    expect(readdirSync(dir)).toHaveLength(left.length);
    const { spool: later } = await open(dir, { limit: 60 });
    expect(later.size).toBeLessThan(left.length);
    expect(later.takeLost()).toBeGreaterThan(0);
  });

  test('of which nothing sensible is left are counted as lost, and do not stand in the way of others', async () => {
    const dir = newDir();
    const first = await open(dir);
    for (const calls of [5, 6, 7, 8]) first.spool.add(drained(calls));
    await first.spool.settled();
    const [a, b, c] = readdirSync(dir).sort();
    truncateSync(join(dir, a ?? ''), 0);
    writeFileSync(join(dir, b ?? ''), Buffer.from([0xff, 0xff, 0xff]));
    const { spool, faults } = await open(dir);
    rmSync(join(dir, c ?? ''));
    expect(await texts(spool)).toEqual([8n]);
    expect([spool.takeLost(), spool.size, faults.length]).toEqual([18, 1, 3]);
  });

  test('too large for one message become several, and no call is lost', async () => {
    const { spool } = await open(newDir());
    const aggregator = new Aggregator();
    const callers = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'].map((from) =>
      callerOf({ principal: { kind: 'unauthenticated', from }, address: from }),
    );
    for (let i = 0; i < 800; i++)
      aggregator.record(
        servedOf(`/${i}${'x'.repeat(8000)}`, {
          // No caller may fill a report alone.
          caller: callers[i % callers.length] ?? callerOf(),
          outcome: 'denied',
          judgement: { allowed: false, before: { allowed: false, decidedBy: 'no-rule' } },
        }),
      );
    const whole = aggregator.drain();
    if (whole === undefined) throw new Error('nothing was drained');
    whole.report.lost = 3n;
    spool.add(whole);
    const reports = await spool.after(0, 100);
    expect(reports.length).toBeGreaterThan(5);
    expect(new Set(reports.map(({ sequence }) => sequence)).size).toBe(reports.length);
    const sum = (list: readonly bigint[]) => list.reduce((a, b) => a + b, 0n);
    expect(sum(reports.flatMap(({ accesses }) => accesses.map(({ denied }) => denied)))).toBe(800n);
    expect(sum(reports.flatMap(({ flips }) => flips.map(({ count }) => count)))).toBe(800n);
    expect(sum(reports.map(({ lost }) => lost))).toBe(3n);
  });
});

describe('a disk', () => {
  test('that does not take reports leaves them in memory, is named once, and gets them when it does', async () => {
    const dir = newDir();
    const { spool, faults } = await open(dir);
    rmSync(dir, { recursive: true });
    for (const calls of [1, 2]) spool.add(drained(calls));
    await spool.settled();
    expect([await texts(spool), faults.length]).toEqual([[1n, 2n], 1]);
    mkdirSync(dir);
    spool.add(drained(3));
    await spool.settled();
    expect(readdirSync(dir)).toHaveLength(3);
    expect(await texts((await open(dir)).spool)).toEqual([1n, 2n, 3n]);
  });

  test('on which something else stands is refused; drafts of a former process are cleared away', async () => {
    const dir = newDir();
    writeFileSync(dir, 'a file');
    await expect(open(dir)).rejects.toMatchObject({ code: 'io' });
    const other = newDir();
    mkdirSync(other);
    writeFileSync(join(other, '5-1.report.new'), 'half');
    writeFileSync(join(other, 'notes.txt'), 'not ours');
    const { spool } = await open(other);
    expect([spool.size, readdirSync(other)]).toEqual([0, ['notes.txt']]);
  });
});
