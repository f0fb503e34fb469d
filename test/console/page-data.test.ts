import { afterEach, describe, expect, test } from 'vitest';
import { detailRank, type Entry, queryOf, withNewest, withOlder } from '../../console/src/audit/entries.ts';
import { abilityOf, coverageOf } from '../../console/src/identities/coverage.ts';
import { hourName, levelOf, levelPaths } from '../../console/src/parts/hours.ts';
import { type Column, csvOf, inOrder } from '../../console/src/parts/table-data.ts';
import { setHome, shortId } from '../../console/src/parts/words.ts';
import { faultText, pageToReturn } from '../../console/src/sign-in/faults.ts';
import { actText, type HistoryEntry, restsOn, whyText } from '../../console/src/workload/history-words.ts';
import { isForward, missingOf, toAcknowledge } from '../../console/src/workload/readiness.ts';
import { SIGN_IN_FAULTS } from '../../src/server/sign-in/through-provider.ts';

describe('a table', () => {
  interface Row {
    readonly name: string;
    readonly n: number | undefined;
  }
  const columns: readonly Column<Row>[] = [
    { key: 'name', head: 'Name', value: ({ name }) => name },
    { key: 'n', head: 'Calls, "all"', value: ({ n }) => n, isNumber: true },
  ];
  const rows: Row[] = [
    { name: 'w10', n: 2 },
    { name: 'w9', n: undefined },
    { name: 'W1', n: 10 },
  ];
  const names = (filter: string, order?: { key: string; isDown: boolean }) =>
    inOrder(rows, columns, filter, order).map(({ name }) => name);

  test('is in the order of its numbers and of the numbers in its names; what has no value comes last either way', () => {
    expect(names('', { key: 'n', isDown: false })).toEqual(['w10', 'W1', 'w9']);
    expect(names('', { key: 'n', isDown: true })).toEqual(['W1', 'w10', 'w9']);
    expect(names('', { key: 'name', isDown: false })).toEqual(['W1', 'w9', 'w10']);
    expect(names('', { key: 'unknown', isDown: false })).toEqual(['w10', 'w9', 'W1']);
  });

  test('has the rows with every word of the filter, in any column', () => {
    expect(names('w1 10')).toEqual(['w10', 'W1']);
    expect(names('W9')).toEqual(['w9']);
    expect(names('none')).toEqual([]);
  });

  test('of 10,000 rows is filtered and ordered as one of three', () => {
    const many = Array.from({ length: 10_000 }, (_, at) => ({ name: `w${at}`, n: (at * 7919) % 10_007 }));
    const found = inOrder(many, columns, 'w', { key: 'n', isDown: true });
    expect(found).toHaveLength(10_000);
    expect(found.every(({ n }, at) => at === 0 || n <= (found[at - 1]?.n ?? 0))).toBe(true);
  });

  test('is exported as RFC 4180 says, and no spreadsheet takes a name for a formula', () => {
    const hostile = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '=HYPERLINK("http://evil","x")'];
    const text = csvOf(
      [...hostile, 'a,b', 'say "hi"', 'two\nlines'].map((name) => ({ name, n: -1 })),
      columns,
    );
    const lines = text.split('\r\n');
    expect(lines[0]).toBe('Name,"Calls, ""all"""');
    expect(lines.slice(1, 5)).toEqual(["'=1+1,-1", "'+1,-1", "'-1,-1", "'@SUM(A1),-1"]);
    // A number stays one: nobody outside has written it.
    expect(text).toContain('"\'=HYPERLINK(""http://evil"",""x"")",-1');
    expect(text).toContain('"a,b",-1');
    expect(text).toContain('"say ""hi""",-1');
    expect(text.endsWith('\r\n')).toBe(true);
  });
});

describe('a column of times', () => {
  const columns: readonly Column<{ readonly at: number | undefined }>[] = [
    { key: 'at', head: 'When', value: ({ at }) => at, isTime: true },
    { key: 'act', head: '', value: () => undefined },
  ];
  const rows = [{ at: Date.UTC(2026, 10, 21, 6) }, { at: undefined }, { at: Date.UTC(2026, 0, 2) }];

  test('is exported and filtered as dates, ordered as times, and what is only done is not exported', () => {
    expect(csvOf(rows, columns)).toBe('When\r\n2026-11-21 06:00:00Z\r\n\r\n2026-01-02 00:00:00Z\r\n');
    expect(inOrder(rows, columns, '2026-01', undefined)).toEqual([rows[2]]);
    expect(inOrder(rows, columns, '', { key: 'at', isDown: true })).toEqual([rows[0], rows[2], rows[1]]);
  });
});

describe('the hours of a week', () => {
  test('each are in one level: none, and four of calls', () => {
    expect([0, 1, 25, 26, 100].map((n) => levelOf(n, 100, 5))).toEqual([0, 1, 1, 2, 4]);
    expect(levelOf(0, 0, 5)).toBe(0);
    const hours = Array.from({ length: 168 }, (_, hour) => (hour === 33 ? 9 : 0));
    const paths = levelPaths(hours, 5, { cell: 12, row: 7, left: 28 });
    expect(paths.map((path) => path.split('M').length - 1)).toEqual([167, 0, 0, 0, 1]);
    // Tuesday, 09:00: the tenth column of the second row.
    expect(paths[4]).toBe('M136 7h11v6h-11z');
    expect(hourName(33)).toBe('Tue 09:00');
  });
});

describe('a name', () => {
  const cart = 'spiffe://example.org/ns/shop/sa/cart';
  afterEach(() => setHome(undefined));

  test('goes without the trust domain where it is that of the control plane, and says which where it is another', () => {
    setHome('example.org');
    expect([shortId(cart), shortId('spiffe://example.org/interlock/server')]).toEqual([
      'shop/cart',
      'interlock/server',
    ]);
    expect(shortId('spiffe://shop.example/ns/shop/sa/cart')).toBe('shop/cart (shop.example)');
    expect(shortId('spiffe://shop.example')).toBe('shop.example');
    expect(shortId('unauthenticated:10.0.0.9')).toBe('unauthenticated:10.0.0.9');
  });

  test('goes without while the own trust domain is not known', () => {
    expect(shortId(cart)).toBe('shop/cart');
  });
});

describe('the audit log on a page', () => {
  test('tells why, and what spoke against it, before what has no room', () => {
    const keys = ['stage', 'checks', 'missing', 'target', 'anyway'];
    expect(keys.toSorted((a, b) => detailRank(a) - detailRank(b))).toEqual([
      'anyway',
      'missing',
      'stage',
      'checks',
      'target',
    ]);
  });

  const entry = (seq: number): Entry => ({
    seq,
    at: seq,
    who: 'local:alice',
    act: 'policy.apply',
    what: 'cart',
    details: {},
    previous: '',
    hash: '',
  });
  const page = (from: number, to: number, next?: string) => ({
    entries: Array.from({ length: from - to + 1 }, (_, at) => entry(from - at)),
    ...(next === undefined ? {} : { next }),
  });
  const seqs = ({ entries }: { entries: readonly Entry[] }) => entries.map(({ seq }) => seq);

  test('keeps what was looked back at while new entries come', () => {
    const first = withNewest(undefined, page(10, 6, '6'));
    const back = withOlder(first, page(5, 1));
    expect([seqs(back), back.next]).toEqual([[10, 9, 8, 7, 6, 5, 4, 3, 2, 1], undefined]);
    const later = withNewest(back, page(12, 8, '8'));
    expect([seqs(later)[0], later.entries.length, later.next]).toEqual([12, 12, undefined]);
    expect(withNewest(later, page(12, 8, '8'))).toBe(later);
  });

  test('does not pretend to be whole where more has come than a page holds', () => {
    const held = withNewest(undefined, page(10, 6, '6'));
    expect(seqs(withNewest(held, page(20, 16, '16')))).toEqual([20, 19, 18, 17, 16]);
  });

  test('that nothing fits keeps how far was looked back', () => {
    const none = { entries: [], next: '10001' };
    expect(withNewest(none, { entries: [], next: '40000' })).toBe(none);
    expect(seqs(withNewest(none, page(60_001, 60_001, '60001')))).toEqual([60_001]);
  });

  test('asks for parts of names and beginnings of acts, the newest first', () => {
    expect(queryOf({ who: ' alice ', act: 'review.', what: 'cart' })).toMatchObject({
      order: 'newest',
      who: '*alice*',
      act: 'review.*',
      what: '*cart*',
    });
    expect(Object.keys(queryOf({ who: '', act: ' ', what: '' }) ?? {})).toEqual(['order', 'limit']);
  });
});

describe('a history', () => {
  const entry = (act: string, details: object): HistoryEntry => ({
    seq: 1,
    at: 0,
    who: 'local:alice',
    act,
    // Details are JSON.
    details: details as HistoryEntry['details'],
  });

  test('says what was done, why, and on what evidence', () => {
    const moved = entry('rollout.canary', {
      share: 0.25,
      anyway: 'the drill is due',
      missing: ['drill', 'shadow'],
      checks: { calendar: '12 days', drill: 'never passed' },
    });
    expect(actText(moved)).toBe('moved it to canary, 25 %');
    expect(whyText(moved)).toBe('anyway: the drill is due (not passed: drill, shadow)');
    expect(restsOn(moved)).toBe('drill: never passed; calendar: 12 days');
    const approved = entry('review.approve', {
      changes: [{ kind: 'added', rule: 'web', evidence: { count: 5, days: 2 } }],
    });
    expect([actText(approved), restsOn(approved)]).toEqual(['approved 1', 'added web (5 calls, 2 days)']);
    expect(actText(entry('review.approve', { changes: [] }))).toBe('approved the target as it is');
    expect(whyText(entry('review.reject', { reason: 'not ours' }))).toBe('not ours');
  });

  test('says in words which connections are taken, and counts one as one', () => {
    expect(actText(entry('authentication.strict', {}))).toBe('made connections strict: mutual TLS alone');
    const evidence = { count: 1, days: 1 };
    const approved = entry('review.approve', { changes: [{ kind: 'added', rule: 'web', evidence }] });
    expect(restsOn(approved)).toBe('added web (1 call, 1 day)');
  });

  test('shows an act and details that it does not know as they are', () => {
    expect(actText(entry('rollout.teleport', {}))).toBe('rollout.teleport');
    for (const details of [null, 'text', 7, [1]])
      expect([
        whyText(entry('x', details as unknown as object)),
        restsOn(entry('x', details as unknown as object)),
      ]).toEqual(['', '']);
  });
});

describe('a promotion', () => {
  test('has gates where more is enforced than before, and none on the way back', () => {
    expect(isForward({ stage: 'shadow', share: 0 }, 'canary', 0.1)).toBe(true);
    expect(isForward({ stage: 'canary', share: 0.5 }, 'canary', 0.75)).toBe(true);
    expect(isForward({ stage: 'canary', share: 0.5 }, 'canary', 0.25)).toBe(false);
    expect(isForward({ stage: 'canary', share: 0.5 }, 'enforced', 1)).toBe(true);
    expect(isForward({ stage: 'enforced', share: 1 }, 'shadow', 0)).toBe(false);
    expect(isForward({ stage: 'draft', share: 0 }, 'shadow', 0)).toBe(false);
    expect(
      missingOf([
        { name: 'drill', passed: false, reason: 'never passed', whatToDo: 'drill' },
        { name: 'policy', passed: true, reason: '1 policy' },
      ]).map(({ name }) => name),
    ).toEqual(['drill']);
  });

  test('leaves to be noted what no rule can mend: open blind spots, and doubts without a rule', () => {
    const spot = (id: string, certain: boolean, acknowledged = false) => ({
      id,
      kind: 'host-network',
      what: id,
      toDo: 'do',
      certain,
      acknowledged,
    });
    const known = toAcknowledge(
      {
        blindSpots: [spot('maybe', false), spot('noted', true, true), spot('sure', true)],
        doubts: [
          { id: 'has-rule', reasons: ['seen once'] },
          { id: 'decided', reasons: ['seen once'], decidedBy: 'owner' },
          { id: 'no-rule', reasons: ['seen once'] },
        ],
      },
      new Set(['has-rule']),
    );
    expect(known.map(({ id }) => id)).toEqual(['sure', 'maybe', 'no-rule']);
  });
});

describe('post-quantum coverage', () => {
  test('counts known handshakes alone, and never looks better than it is', () => {
    expect(coverageOf({ calls: 1000, postQuantum: 999, unknown: 0 }).text).toContain('99.9 %');
    expect(coverageOf({ calls: 100_000, postQuantum: 99_999, unknown: 0 }).text).toContain('99.9 %');
    expect(coverageOf({ calls: 300, postQuantum: 50, unknown: 200 }).share).toBe(0.5);
    expect(coverageOf({ calls: 5, postQuantum: 0, unknown: 5 })).toMatchObject({ share: 0, unknownShare: 1 });
  });

  test('tells who can, who cannot, and who was upgraded', () => {
    const end = { postQuantum: 5, classical: 5, unknown: 0 };
    expect(abilityOf({ ...end, classical: 0 })).toBe('can');
    expect(abilityOf({ ...end, postQuantum: 0 })).toBe('cannot');
    expect(abilityOf({ postQuantum: 0, classical: 0, unknown: 9 })).toBe('unknown');
    expect(abilityOf({ ...end, lastClassical: 0, lastPostQuantum: 7_200_000 })).toBe('can');
    expect(abilityOf({ ...end, lastClassical: 7_200_000, lastPostQuantum: 0 })).toBe('sometimes');
  });
});

describe('a sign-in that came to nothing', () => {
  test('has a sentence for every fault that the control plane names, each another one', () => {
    const sentences = SIGN_IN_FAULTS.map((fault) => faultText(`?fault=${fault}`));
    expect(new Set(sentences).size).toBe(SIGN_IN_FAULTS.length);
    expect(sentences.every((each) => each !== undefined && each.length > 20)).toBe(true);
    const other = faultText('?fault=<img src=x>');
    expect([other, faultText('?fault=toString'), faultText('?fault=__proto__')]).toEqual([
      'You were not signed in. Try again.',
      other,
      other,
    ]);
    expect(faultText('')).toBeUndefined();
  });

  test('leads back to a page of this console alone', () => {
    for (const path of ['/audit', '/review/example.org%2Fns%2Fshop%2Fsa%2Fcart', '/workloads?x=1'])
      expect(pageToReturn(path)).toBe(path);
    const others = [
      null,
      '',
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
      'javascript:alert(1)',
      '/sign-in?fault=refused',
    ];
    for (const path of others) expect(pageToReturn(path)).toBe('/');
  });
});
