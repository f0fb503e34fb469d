import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shownOf } from '../../console/src/map/group.ts';
import { ALL_LAYERS, VIEWS } from '../../console/src/map/kinds.ts';
import { lineId, modelOf, STRANGERS } from '../../console/src/map/model.ts';
import { paint, short } from '../../console/src/map/paint.ts';
import { LabelSpace } from '../../console/src/map/stage/label-space.ts';
import { edge, graphOf, id, SHOP, shop } from './map-graph.ts';

describe('the looks', () => {
  const options = { layers: ALL_LAYERS, scheme: 'dark' } as const;

  test('what stands out says so in words', () => {
    const model = shop();
    const { lines, nodes } = paint(shownOf(model, new Set(model.groups.keys())), options);
    expect(lines.get(lineId(id('shop/web'), id('pay/charge')))).toMatchObject({
      kind: 'would-deny',
      label: '! 1',
    });
    expect(lines.get(lineId(id('batch/report'), id('pay/charge')))?.label).toBe('new 1 · unusual');
    expect(nodes.get('unauthenticated:10.0.0.9')?.shape).toBe(2);
    expect(paint(shownOf(model, new Set()), options).nodes.get(STRANGERS)?.shape).toBe(2);
  });

  test('what does not touch the selected is faded, and stays', () => {
    const model = shop();
    const shown = shownOf(model, new Set(model.groups.keys()));
    const { nodes, lines } = paint(shown, { ...options, selected: id('batch/report') });
    expect(
      [...nodes]
        .filter(([, { isFaded }]) => !isFaded)
        .map(([of]) => of)
        .sort(),
    ).toEqual([id('batch/report'), id('pay/charge')]);
    expect(lines.size).toBe(SHOP.length);
  });

  test('what is unusual is said of few, and of many told apart by the filter', () => {
    const rooms = (many: number) =>
      modelOf(graphOf(Array.from({ length: many }, (_, n) => edge(`a${n}/one`, `b${n}/two`))));
    const saying = (many: number) => {
      const model = rooms(many);
      const { lines } = paint(shownOf(model, new Set(model.groups.keys())), options);
      return [...lines.values()].filter(({ label }) => label === 'unusual').length;
    };
    expect([saying(3), saying(12), saying(13)]).toEqual([3, 12, 0]);
  });

  test('among many lines one that would be denied says so by its form, several by their number', () => {
    const many = Array.from({ length: 200 }, (_, n) => edge('shop/web', `pay/w${n}`));
    const breaks = { accesses: 3, views: { possible: 0, declared: 0, observed: 3, authorized: 0 } };
    const model = modelOf(
      graphOf([
        ...many,
        edge('shop/one', 'pay/charge', { ...breaks, wouldDeny: 1 }),
        edge('shop/more', 'pay/charge', { ...breaks, wouldDeny: 3 }),
        edge('shop/never', 'pay/charge', { ...breaks, denied: 1 }),
      ]),
    );
    const { lines } = paint(shownOf(model, new Set(model.groups.keys())), options);
    const of = (from: string) => lines.get(lineId(id(from), id('pay/charge')));
    expect([of('shop/one')?.label, of('shop/more')?.label, of('shop/never')?.label]).toEqual([
      '',
      '! 3',
      '✕ 1',
    ]);
    expect(of('shop/one')?.kind).toBe('would-deny');
  });

  test('where only what is new is asked for, the rest is faded', () => {
    const model = shop();
    const layers = { ...ALL_LAYERS, marks: new Set(['fresh'] as const) };
    const { nodes } = paint(shownOf(model, new Set(model.groups.keys())), { ...options, layers });
    expect([...nodes].flatMap(([of, { isFaded }]) => (isFaded ? [] : [of])).sort()).toEqual(
      [id('batch/report'), id('pay/charge')].sort(),
    );
  });

  test('nothing is written over something else, however much there is', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            x: fc.integer({ min: -50, max: 400 }),
            y: fc.integer({ min: -50, max: 400 }),
            w: fc.integer({ min: 1, max: 150 }),
            h: fc.integer({ min: 1, max: 60 }),
          }),
          { maxLength: 60 },
        ),
        (rects) => {
          const space = new LabelSpace();
          const taken: typeof rects = [];
          const meets = (a: (typeof rects)[number]) =>
            taken.some((b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h);
          for (const rect of rects) {
            expect(space.isFree(rect)).toBe(!meets(rect));
            if (!space.isFree(rect)) continue;
            space.take(rect);
            taken.push(rect);
          }
          space.clear();
          expect(rects.every((rect) => space.isFree(rect))).toBe(true);
        },
      ),
    );
  });

  test('a view that is switched off takes its lines away', () => {
    const model = shop();
    const layers = { ...ALL_LAYERS, views: new Set(VIEWS.filter((view) => view !== 'observed')) };
    const { lines } = paint(shownOf(model, new Set(model.groups.keys())), { ...options, layers });
    expect([...lines.values()].map(({ kind }) => kind)).toEqual(['allowed']);
  });

  test('numbers are short and never rounded up', () => {
    expect([0, 999, 1999, 12_345, 1_999_999, 3e9].map(short)).toEqual([
      '0',
      '999',
      '1.9k',
      '12k',
      '1.9M',
      '3G',
    ]);
  });
});
