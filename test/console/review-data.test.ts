import { describe, expect, test } from 'vitest';
import { linesOf, nearChanges, textDiff } from '../../console/src/review/diff.ts';
import {
  approvalText,
  ordersOf,
  type Review,
  type ReviewChange,
  type ReviewQuestion,
  secondLook,
  sectionsOf,
  turned,
  whatChanged,
} from '../../console/src/review/items.ts';
import {
  inQueue,
  neighbourOf,
  NO_FILTER,
  NOBODY,
  ownersIn,
  type Waiting,
  waitsFor,
} from '../../console/src/review/queue.ts';
import { API_VERSION, type AccessPolicy, POLICY_KIND, type Rule } from '../../src/policy/types.ts';
import { HOSTILE, shopId } from './shop-evidence.ts';

const cart = shopId('cart');
const rule = (name: string, methods: string[] = ['GET']): Rule => ({
  name,
  from: [{ workload: shopId('web') }],
  to: [{ http: { methods, paths: [`/${name}`] }, ports: [8080] }],
});
const policy = (...rules: Rule[]): AccessPolicy => ({
  apiVersion: API_VERSION,
  kind: POLICY_KIND,
  metadata: { name: 'cart' },
  spec: { protects: { workload: cart }, tier: 'standard', stage: 'shadow', rules, deny: [] },
});
const evidence: ReviewChange['evidence'] = {
  accesses: 1,
  count: 5,
  days: 1,
  hoursOfWeek: [],
  instances: ['a'],
  sources: ['proxy'],
  declared: [],
};
const change = (id: string, over: Partial<ReviewChange> = {}): ReviewChange => ({
  id,
  kind: 'added',
  rule: rule(id),
  evidence,
  since: 0,
  ...over,
});
const DOUBT = { id: 'd', codes: ['seen-once'], reasons: ['seen once'] };
const question = (id: string, over: Partial<ReviewQuestion> = {}): ReviewQuestion => ({
  id,
  from: shopId('web'),
  action: { kind: 'http', port: 8080, method: 'GET', path: '/q' },
  text: 'GET /q :8080',
  deniedBy: { decidedBy: 'no-rule' },
  count: 1,
  firstSeen: 0,
  lastSeen: 0,
  since: 0,
  ...over,
});
const review = (over: Partial<Review> = {}): Review => ({
  workload: cart,
  tier: 'standard',
  stage: 'shadow',
  owners: ['alice'],
  target: 't1',
  counts: { added: 0, widened: 0, removed: 0, doubts: 0, question: 0 },
  approvals: { need: 1, by: [], authors: [] },
  policies: [policy(rule('web'))],
  yaml: '',
  changes: [],
  questions: [],
  isCut: false,
  comments: [],
  bulk: true,
  ...over,
});

describe('a change as a diff', () => {
  test('of a widened rule shows what stands in it already, and what is new', () => {
    const widened = change('c', {
      kind: 'widened',
      rule: rule('web', ['POST']),
      of: { policy: 'cart', rule: 'web' },
    });
    expect(linesOf(widened, [policy(rule('web'))])).toEqual([
      { sign: ' ', text: `from ${shopId('web')}` },
      { sign: ' ', text: 'GET /web :8080' },
      { sign: '+', text: 'POST /web :8080' },
    ]);
    // The rule went meanwhile: what would come is still shown.
    expect(linesOf(widened, []).map(({ sign }) => sign)).toEqual(['+', '+']);
  });

  test('of a rule that goes is all taken away, with its condition and its end', () => {
    const gone = { ...rule('old'), when: 'request.size < 9', until: '2026-12-31T00:00:00Z' };
    expect(linesOf(change('c', { kind: 'removed', rule: gone }), []).at(-1)).toEqual({
      sign: '-',
      text: 'until 2026-12-31T00:00:00Z',
    });
  });
});

describe('a diff of two texts', () => {
  test('gives each text back, by the lines that it has', () => {
    const texts = ['', 'a', 'a\nb\nc\n', 'a\nx\nc\n', 'b\nc\na\n', 'x\ny\nz', 'c\nc\nc\n'];
    const lines = (text: string) => (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
    for (const before of texts)
      for (const after of texts) {
        const diff = textDiff(before, after);
        const of = (sign: string) =>
          diff.filter((line) => line.sign === ' ' || line.sign === sign).map(({ text }) => text);
        expect(of('-'), `${before} -> ${after}`).toEqual(before === '' ? [] : lines(before));
        expect(of('+')).toEqual(after === '' ? [] : lines(after));
      }
    expect(
      textDiff('a\nb\nc\nd', 'a\nc\nd')
        .map(({ sign }) => sign)
        .join(''),
    ).toBe(' -  ');
  });

  test('of texts too long to compare is their common ends, and what is between replaced', () => {
    const many = (word: string) => Array.from({ length: 3000 }, (_, at) => `${word}${at}`).join('\n');
    const diff = textDiff(`head\n${many('a')}\ntail`, `head\n${many('b')}\ntail`);
    expect([diff.length, diff[0]?.sign, diff[1]?.sign, diff.at(-2)?.sign]).toEqual([6002, ' ', '-', '+']);
  });

  test('shows what is near a change, and that there is more', () => {
    const before = Array.from({ length: 20 }, (_, at) => String(at)).join('\n');
    const shown = nearChanges(textDiff(before, before.replace('\n10\n', '\nten\n')), 1);
    expect(shown.map((line) => (line === null ? '…' : line.sign + line.text))).toEqual([
      '…',
      ' 9',
      '-10',
      '+ten',
      ' 11',
      '…',
    ]);
    expect(nearChanges(textDiff('a\nb', 'a\nb'))).toEqual([]);
  });
});

describe('what waits about a workload', () => {
  const all = review({
    changes: [
      change('ordinary'),
      change('doubt', { doubt: DOUBT }),
      change('unused', { kind: 'removed' }),
      change('wider', { kind: 'widened', of: { policy: 'cart', rule: 'web' } }),
      change('wider-doubt', { kind: 'widened', of: { policy: 'cart', rule: 'web' }, doubt: DOUBT }),
    ],
    questions: [
      question('q1', { change: 'ordinary', deny: rule('deny') }),
      question('q2', { change: 'gone' }),
    ],
  });

  test('stands in sections: doubts by themselves, whatever they would change', () => {
    expect(sectionsOf(all).map(({ name, items }) => [name, items.map(({ id }) => id)])).toEqual([
      ['added', ['ordinary']],
      ['widened', ['wider']],
      ['doubts', ['doubt', 'wider-doubt']],
      ['removed', ['unused']],
      ['questions', ['q1', 'q2']],
    ]);
    expect(sectionsOf(all, 'SEEN once').map(({ name }) => name)).toEqual(['doubts']);
    expect(sectionsOf(all, 'nothing like this')).toEqual([]);
  });

  test('is approved, denied and rejected by what is chosen and still open', () => {
    expect(ordersOf(all, new Set(['doubt', 'q1', 'decided meanwhile']))).toEqual({
      approve: ['doubt', 'ordinary'],
      deny: ['q1'],
      reject: ['doubt', 'q1'],
    });
    // Its change is not proposed any more: it can only be rejected.
    expect(ordersOf(all, new Set(['q2']))).toEqual({ approve: [], deny: [], reject: ['q2'] });
  });

  test('is decided in calls of 500, which is what one call takes', () => {
    const many = review({ questions: Array.from({ length: 700 }, (_, at) => question(`q${at}`)) });
    const chosen = new Set(many.questions.map(({ id }) => id));
    expect(ordersOf(many, chosen).reject).toHaveLength(500);
  });

  test('in critical has its doubts chosen alone', () => {
    const critical = { ...all, bulk: false };
    expect([...turned(new Set(['ordinary', 'unused']), 'doubt', critical)]).toEqual(['doubt']);
    expect([...turned(new Set(['doubt']), 'ordinary', critical)]).toEqual(['ordinary']);
    expect([...turned(new Set(['doubt']), 'doubt', critical)]).toEqual([]);
    expect([...turned(new Set(['ordinary']), 'doubt', all)]).toEqual(['ordinary', 'doubt']);
  });

  test('is asked about once more where it rests on little, takes away, or ends a canary; else not', () => {
    expect(secondLook(all, ['ordinary', 'wider'])).toEqual([]);
    expect(secondLook(all, ['doubt', 'unused', 'ordinary'])).toEqual([
      '1 doubt will be allowed: it rests on little.',
      '1 rule will go: what it allows is denied once this is enforced.',
    ]);
    expect(secondLook({ ...all, stage: 'canary' }, ['ordinary'])).toHaveLength(1);
  });

  test('says what somebody who was faster has made of it', () => {
    const after = review({
      target: 't2',
      changes: all.changes.filter(({ id }) => id !== 'ordinary').concat(change('new')),
      questions: all.questions,
      lastDecision: { who: 'local:bob', at: 9, what: 'approved 1 change' },
    });
    expect(whatChanged(all, after)).toEqual([
      'local:bob approved 1 change.',
      'Not open any more: ordinary.',
      'New: new.',
      'The target is another one now.',
    ]);
    expect(whatChanged(all, all)).toEqual([]);
  });

  test('names how many have to approve, and who that cannot be', () => {
    const need = (n: number, ...by: string[]) =>
      approvalText(review({ approvals: { need: n, by: by.map((who) => ({ who, at: 0 })), authors: [] } }));
    expect(need(1).missing).toBe('1 more person must approve. Owners: alice.');
    expect(need(2, 'bob').missing).toBe(
      '1 more person must approve, nobody who has written of this target. Owners: alice.',
    );
    expect(need(2, 'bob', 'eve')).toEqual({ isEnough: true, missing: undefined });
    expect(approvalText(review({ stage: 'enforced' })).missing).toBeUndefined();
  });
});

describe('the queue', () => {
  const waiting = (name: string, over: Partial<Waiting> = {}): Waiting => ({
    workload: shopId(name),
    tier: 'standard',
    owners: [],
    target: 't',
    counts: { added: 0, widened: 0, removed: 0, doubts: 0, question: 0 },
    approvals: { need: 1, by: [], authors: [] },
    ...over,
  });
  const counts = { added: 1, widened: 0, removed: 0, doubts: 0, question: 0 };
  const queue = [
    waiting('young', { counts, since: 9 }),
    waiting('old', { counts, since: 1, owners: ['bob', '@team'] }),
    waiting('critical', { counts, since: 5, tier: 'critical', owners: ['alice'] }),
    waiting('asks', { counts: { ...counts, question: 2 }, since: 8 }),
    waiting('approved', { stage: 'shadow' }),
    waiting('plain', { stage: 'draft' }),
  ];
  const names = (list: readonly Waiting[]) => list.map(({ workload }) => workload.split('/').at(-1));

  test('begins with questions, then the stricter tier, then what is open longest', () => {
    expect(names(inQueue(queue, NO_FILTER))).toEqual([
      'asks',
      'critical',
      'old',
      'young',
      'approved',
      'plain',
    ]);
  });

  test('is narrowed by what waits, tier, owner and words', () => {
    const by = (over: object) => names(inQueue(queue, { ...NO_FILTER, ...over }));
    expect(by({ waits: 'question' })).toEqual(['asks']);
    expect(by({ waits: 'approval' })).toEqual(['approved', 'plain']);
    expect(by({ tier: 'critical' })).toEqual(['critical']);
    expect(by({ owner: '@team' })).toEqual(['old']);
    expect(by({ owner: NOBODY })).toEqual(['asks', 'young', 'approved', 'plain']);
    expect(by({ text: 'SHOP ali' })).toEqual(['critical']);
    expect(ownersIn(queue)).toEqual(['@team', 'alice', 'bob']);
    expect(waitsFor(waiting('x', { counts: { ...counts, doubts: 1, removed: 1 } }))).toEqual([
      'proposal',
      'doubt',
      'tightening',
    ]);
  });

  test('leads on and back, and ends', () => {
    const ordered = inQueue(queue, NO_FILTER);
    expect(neighbourOf(ordered, shopId('asks'), 1)).toBe(shopId('critical'));
    expect(neighbourOf(ordered, shopId('asks'), -1)).toBeUndefined();
    expect(neighbourOf(ordered, shopId('plain'), 1)).toBeUndefined();
    // One that was just decided is in no queue: from there it begins anew.
    expect(neighbourOf(ordered, shopId('decided'), 1)).toBe(shopId('asks'));
    expect(neighbourOf([], undefined, 1)).toBeUndefined();
  });

  test('of ten thousand workloads is ordered and filtered as one', () => {
    const many = Array.from({ length: 10_000 }, (_, at) =>
      waiting(`w${at}`, { counts, since: at % 97, owners: [at % 2 === 0 ? 'alice' : HOSTILE] }),
    );
    const found = inQueue(many, { ...NO_FILTER, owner: HOSTILE });
    expect(found).toHaveLength(5000);
    expect(found.every(({ since = 0 }, at) => at === 0 || since >= (found[at - 1]?.since ?? 0))).toBe(true);
  });
});
