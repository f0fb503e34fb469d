import { assert, asyncProperty, constantFrom, integer, option } from 'fast-check';
import { expect, test } from 'vitest';
import type { Answer, Checked } from '../../../api/index.ts';
import type { AuditEntry } from '../../../store/index.ts';
import type { Call } from '../handler.ts';
import type { ApiParts } from '../parts.ts';
import { auditHandlers } from './audit.ts';

type Query = Partial<Checked<'audit.list', 'query'>>;

/** A log of so many entries; every third one is bob's, every seventh a release. */
class Log {
  entries: AuditEntry[] = [];
  reads = 0;
  readonly #list;

  constructor(size: number) {
    for (let i = 0; i < size; i++) this.add();
    const store = {
      audit: (from: number, limit: number) => {
        this.reads++;
        return Promise.resolve(this.entries.filter(({ seq }) => seq >= from).slice(0, limit));
      },
    };
    const recorder = { within: <T>(work: Promise<T>) => work };
    // All that the handlers of the log take of a control plane.
    this.#list = auditHandlers({ plane: { store, recorder } } as unknown as ApiParts)['audit.list'];
  }

  add(): void {
    const seq = this.entries.length + 1;
    this.entries.push({
      seq,
      at: seq,
      who: seq % 3 === 0 ? 'local:bob' : 'user:https://id.example#alice',
      act: seq % 7 === 0 ? 'release.press' : 'rollout.shadow',
      what: `spiffe://example.org/ns/shop/sa/w${seq % 5}`,
      details: {},
      previous: '',
      hash: '',
    });
  }

  async page(query: Query): Promise<Answer<'audit.list'>> {
    const whole = { limit: 200, after: 0, order: 'newest', ...query } as const;
    const answer = await this.#list({ query: whole } as unknown as Call<'audit.list'>);
    if (!('entries' in answer)) throw new TypeError('the log is no prepared text');
    return answer;
  }

  /** Every page, as a reader goes through them. */
  async all(query: Query): Promise<number[]> {
    const seqs: number[] = [];
    let after: number | undefined = 0;
    while (after !== undefined) {
      const page: Answer<'audit.list'> = await this.page({ ...query, after });
      seqs.push(...page.entries.map(({ seq }) => seq));
      after = page.next === undefined ? undefined : Number(page.next);
    }
    return seqs;
  }
}

test('is read page by page from either end, each entry once, whatever is asked for', async () => {
  const queries = {
    size: integer({ min: 0, max: 5000 }),
    limit: integer({ min: 1, max: 700 }),
    who: option(constantFrom('local:bob', '*alice*', 'user:*', 'nobody'), { nil: undefined }),
    act: option(constantFrom('release.press', 'roll*'), { nil: undefined }),
    what: option(constantFrom('*sa/w3*', 'spiffe://example.org/ns/shop/sa/w1'), { nil: undefined }),
    order: constantFrom('oldest' as const, 'newest' as const),
  };
  await assert(
    asyncProperty(
      queries.size,
      queries.limit,
      queries.who,
      queries.act,
      queries.what,
      queries.order,
      async (size, limit, who, act, what, order) => {
        const log = new Log(size);
        const like = (text: string, pattern: string | undefined) =>
          pattern === undefined ||
          new RegExp(
            `^${pattern.replaceAll(/[.*+?^$()|[\]\\{}]/g, (sign) => (sign === '*' ? '.*' : `\\${sign}`))}$`,
          ).test(text);
        const expected = log.entries
          .filter((entry) => like(entry.who, who) && like(entry.act, act) && like(entry.what, what))
          .map(({ seq }) => seq);
        if (order === 'newest') expected.reverse();
        expect(await log.all({ limit, order, who, act, what })).toEqual(expected);
      },
    ),
    { numRuns: 40 },
  );
});

test('begins with the newest of now, and goes back from where it was', async () => {
  const log = new Log(3000);
  const first = await log.page({ limit: 2 });
  expect(first.entries.map(({ seq }) => seq)).toEqual([3000, 2999]);
  log.add();
  // From what was the newest it is not far: the log is not searched again.
  const before = log.reads;
  expect((await log.page({ limit: 2 })).entries[0]?.seq).toBe(3001);
  expect(log.reads - before).toBeLessThan(5);
  expect((await log.page({ limit: 2, after: Number(first.next) })).entries.map(({ seq }) => seq)).toEqual([
    2998, 2997,
  ]);
});

test('ends a search that nothing fits after 50,000 entries, and says where to go on', async () => {
  const log = new Log(60_000);
  const page = await log.page({ who: 'nobody' });
  expect([page.entries, page.next]).toEqual([[], '10001']);
  expect(await log.page({ who: 'nobody', after: 10_001 })).toEqual({ entries: [] });
});
