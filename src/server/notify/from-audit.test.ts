import { describe, expect, test } from 'vitest';
import type { Json } from '../../store/index.ts';
import { concerns } from './filter.ts';
import { noticesOf } from './from-audit.ts';

const CART = 'spiffe://example.org/ns/shop/sa/cart';
const entry = (act: string, what: string, details: Json = {}, who = 'local:alice') => ({
  at: 1,
  who,
  act,
  what,
  details,
});
const told = (...given: Parameters<typeof entry>) =>
  noticesOf(entry(...given)).map(({ type, summary }) => `${type}: ${summary}`);

describe('what is told of an entry of the audit log', () => {
  test.each([
    [
      'review.open',
      CART,
      { target: 'x', added: 2, widened: 0, removed: 1, question: 3, doubts: 1 },
      'system',
      [
        `proposal: 3 changes are proposed for ${CART}, 1 in doubt`,
        `tightening: 1 rule of ${CART} nobody uses: take it away?`,
        `question: the target of ${CART} would deny 3 accesses of today: is that meant?`,
      ],
    ],
    [
      'rollout.canary',
      CART,
      { stage: 'canary', share: 0.25 },
      'bob',
      [`promotion: ${CART} is in canary at 25 %, moved by bob`],
    ],
    [
      'rollout.enforced',
      CART,
      { stage: 'enforced', anyway: 'an incident', missing: ['drill'] },
      'bob',
      [`promotion: ${CART} is enforced, moved by bob, although checks failed: an incident`],
    ],
    [
      'rollout.shadow',
      CART,
      { stage: 'shadow', why: '3 denied' },
      'system',
      [`fallback: ${CART} fell back to shadow by itself: 3 denied`],
    ],
    [
      'rollout.shadow',
      CART,
      { stage: 'shadow' },
      'bob',
      [`demotion: ${CART} is back in shadow, moved by bob`],
    ],
    [
      'release',
      'everything',
      { id: 'rel-1', reason: 'it is down' },
      'bob',
      ['release: enforcement is released for everything by bob: it is down'],
    ],
    [
      'arm',
      'everything',
      { id: 'rel-1', reason: 'it is down' },
      'bob',
      ['arm: bob has ended the release of everything: it is enforced again'],
    ],
    [
      'authority.taint',
      'abcd',
      { name: 'default' },
      'bob',
      ['authority: the authority abcd ("default") is tainted: every SVID of it is replaced, by bob'],
    ],
    ['identity.revoke', CART, { reason: 'stolen' }, 'bob', [`revocation: ${CART} is revoked by bob: stolen`]],
    ['session.start', 'x', {}, 'bob', []],
    ['__proto__', 'x', {}, 'bob', []],
    ['constructor', 'x', {}, 'bob', []],
  ] as const)('%s of %s', (act, what, details, who, expected) => {
    expect(told(act, what, details, who)).toEqual(expected);
  });

  test('what people and callers write in it is bounded, and one line', () => {
    const [notice] = noticesOf(entry('release', 'everything', { reason: `a\n\u202E${'x'.repeat(10_000)}` }));
    expect(notice?.summary).toMatch(/: a x+…$/);
    expect(JSON.stringify(notice).length).toBeLessThan(2500);
  });

  test('fields of another shape than expected are passed over', () => {
    expect(told('rollout.canary', CART, { share: 'all' })).toEqual([
      `promotion: ${CART} is in canary at some share, moved by local:alice`,
    ]);
    expect(told('review.open', CART, null)).toEqual([]);
    expect(told('release', 'everything', [1, 2])).toHaveLength(1);
  });
});

describe('a channel', () => {
  const known = { tierOf: () => 'critical' as const, ownersOf: () => ['@shop'] };
  const all = new Set(['release', 'promotion', 'authority'] as const);
  const [moved] = noticesOf(entry('rollout.enforced', CART));
  const [everything] = noticesOf(entry('release', 'everything'));
  const [namespace] = noticesOf(entry('release', 'namespace shop'));
  const [opened] = noticesOf(entry('review.ask', CART, { text: 'why?', workload: CART }));

  test.each([
    ['without a filter', {}, [true, true, true, false]],
    ['of the namespace', { namespaces: ['shop'] }, [true, true, true, false]],
    ['of another namespace', { namespaces: ['pay'] }, [false, true, false, false]],
    ['of the tier', { tiers: ['critical'] }, [true, true, true, false]],
    ['of another tier', { tiers: ['standard'] }, [false, true, true, false]],
    ['of the owners', { owners: ['@shop', '@pay'] }, [true, true, true, false]],
    ['of other owners', { owners: ['@pay'] }, [false, true, true, false]],
    [
      'of all that',
      { namespaces: ['shop'], tiers: ['critical'], owners: ['@pay'] },
      [false, true, true, false],
    ],
  ] as const)('%s is told what concerns it', (_, only, expected) => {
    const found = [moved, everything, namespace, opened].map(
      (notice) => notice !== undefined && concerns({ on: all, only }, notice, known),
    );
    expect(found).toEqual(expected);
  });
});
