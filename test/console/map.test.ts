import { describe, expect, test } from 'vitest';
import { found, openAtFirst, pairsOf, shownAs, shownOf } from '../../console/src/map/group.ts';
import { ALL_LAYERS, countsOf, KINDS, shownKind } from '../../console/src/map/kinds.ts';
import { boxAt, extentOf, layoutInput, layoutOf } from '../../console/src/map/layout.ts';
import { cellAt, matrixOf, moved } from '../../console/src/map/matrix.ts';
import { lineId, modelOf } from '../../console/src/map/model.ts';
import { DASH, INK } from '../../console/src/map/paint.ts';
import { edge, graphOf, id, SHOP, shop } from './map-graph.ts';

const PAY = 'group:ns/pay';

/** A made-up estate: four namespaces in a row, each calling the next. */
function rows(perNamespace: number, namespaces = 4): ReturnType<typeof edge>[] {
  return Array.from({ length: namespaces }, (_, n) =>
    Array.from({ length: perNamespace }, (__, i) => [
      edge(`n${n}/w${i}`, `n${n}/w${(i + 1) % perNamespace}`),
      ...(n + 1 < namespaces ? [edge(`n${n}/w${i}`, `n${n + 1}/w${i}`)] : []),
    ]).flat(),
  ).flat();
}

describe('what a line says', () => {
  test('an access is of the kind that its verdicts and views say, and what is left has no policy', () => {
    const views = { possible: 1, declared: 2, observed: 5, authorized: 3 };
    const counts = countsOf(
      edge('a/a', 'b/b', { accesses: 9, views, wouldDeny: 1, denied: 1, unused: 1, plaintext: 2 }),
    );
    expect(counts).toEqual({
      'would-deny': 1,
      denied: 1,
      plaintext: 2,
      unused: 1,
      declared: 2,
      possible: 1,
      open: 1,
      allowed: 2,
    });
  });

  test('a line shows the worst of what is switched on, and goes when nothing of it is', () => {
    const line = shop().byId.get(lineId(id('shop/web'), id('pay/charge')));
    if (line === undefined) throw new TypeError('the line is there');
    expect(shownKind(line, ALL_LAYERS)).toBe('would-deny');
    const without = { ...ALL_LAYERS, kinds: new Set(KINDS.filter((kind) => kind !== 'would-deny')) };
    expect(shownKind(line, without)).toBe('allowed');
    expect(shownKind(line, { ...ALL_LAYERS, views: new Set(['declared'] as const) })).toBeUndefined();
    expect(shownKind(line, { ...ALL_LAYERS, marks: new Set(['fresh'] as const) })).toBeUndefined();
  });

  test('each kind has a form of its own beside its colour, but for the two that need no look', () => {
    const forms = KINDS.filter((kind) => kind !== 'open' && kind !== 'allowed').map((kind) =>
      DASH[kind].join(),
    );
    expect(new Set(forms).size).toBe(forms.length);
    expect(new Set(KINDS.map((kind) => INK.dark[kind])).size).toBeGreaterThanOrEqual(7);
  });

  test('the only pair between two namespaces is unusual, and so is every caller without an identity', () => {
    const lone = shop().lines.filter((line) => line.lone > 0);
    expect(lone.map(({ from }) => from).sort()).toEqual(
      [id('batch/report'), 'unauthenticated:10.0.0.9'].sort(),
    );
  });
});

describe('the model', () => {
  test('the order of nodes and edges does not matter', () => {
    const graph = graphOf(rows(7));
    const turned = { ...graph, nodes: graph.nodes.toReversed(), edges: graph.edges.toReversed() };
    expect(modelOf(turned)).toEqual(modelOf(graph));
  });

  test('names that are keys of every object are names like others', () => {
    const model = modelOf(graphOf([edge('__proto__/constructor', 'constructor/__proto__')]));
    expect([...model.groups.values()].map(({ name }) => name)).toEqual(['__proto__', 'constructor']);
    expect(layoutOf(layoutInput(model)).points.size).toBe(2);
  });

  test('a workload of another trust domain says which: its namesake here is another one', () => {
    const cart = 'spiffe://shop.example/ns/shop/sa/cart';
    const { places } = modelOf(graphOf([edge('shop/web', 'shop/cart'), { ...edge('a/a', 'b/b'), to: cart }]));
    expect([places.get(id('shop/cart'))?.name, places.get(cart)?.name]).toEqual([
      'cart',
      'cart (shop.example)',
    ]);
  });

  test('an edge to a node that the answer has no room for is left out', () => {
    const graph = graphOf(SHOP);
    const model = modelOf({ ...graph, nodes: graph.nodes.slice(1), isCut: true });
    expect(model.isCut).toBe(true);
    expect(model.lines.length).toBeLessThan(SHOP.length);
  });
});

describe('groups', () => {
  test('closed groups are one node each, and their lines one line with the sums', () => {
    const { groups, places, lines } = shownOf(shop(), new Set());
    expect(places).toEqual([]);
    expect(groups.map(({ name }) => name)).toEqual(['batch', 'no identity', 'pay', 'shop']);
    const line = lines.find(({ from, to }) => from === 'group:ns/shop' && to === PAY);
    expect(line).toMatchObject({
      pairs: 2,
      accesses: 3,
      calls: 20,
      counts: { 'would-deny': 1, plaintext: 1 },
    });
    expect(lines.some(({ from, to }) => from === to)).toBe(false);
  });

  test('opening one group leaves the others as they were, and no access is lost or counted twice', () => {
    const model = modelOf(graphOf(rows(9)));
    const closed = shownOf(model, new Set());
    const open = shownOf(model, new Set(['group:ns/n1']));
    expect(open.groups).toEqual(closed.groups.filter(({ id: of }) => of !== 'group:ns/n1'));
    const between = (lines: typeof closed.lines) =>
      lines
        .filter(
          ({ from, to }) =>
            !(
              model.places.get(from)?.group === 'group:ns/n1' && model.places.get(to)?.group === 'group:ns/n1'
            ),
        )
        .reduce((sum, { accesses }) => sum + accesses, 0);
    expect(between(open.lines)).toBe(between(closed.lines));
    const whole = shownOf(model, new Set(model.groups.keys()));
    expect(whole.lines).toEqual(model.lines);
  });

  test('a small estate is open at first, a large one closed', () => {
    expect(openAtFirst(shop()).size).toBe(4);
    expect(openAtFirst(modelOf(graphOf(rows(40)))).size).toBe(0);
  });

  test('what is selected is followed to its pairs, and stays when its group closes', () => {
    const model = shop();
    expect(pairsOf(model, PAY)).toHaveLength(3);
    expect(pairsOf(model, lineId('group:ns/shop', PAY))).toHaveLength(2);
    expect(pairsOf(model, id('shop/cart'))).toHaveLength(2);
    expect(shownAs(model, new Set(), id('shop/cart'))).toBe('group:ns/shop');
    expect(shownAs(model, new Set(['group:ns/shop']), id('shop/cart'))).toBe(id('shop/cart'));
  });

  test('search finds what begins with the text before what has it somewhere', () => {
    const model = modelOf(graphOf(SHOP, ['shop/api', 'shop/web-api']));
    expect(found(model, 'API').map(({ name }) => name)).toEqual(['api', 'web-api']);
    expect(found(model, '10.0.0')[0]?.name).toBe('10.0.0.9');
    expect(found(model, '  ')).toEqual([]);
  });
});

describe('the layout', () => {
  test('the same estate gives the same picture, in whatever order it comes', () => {
    const graph = graphOf(rows(12));
    const turned = { ...graph, nodes: graph.nodes.toReversed(), edges: graph.edges.toReversed() };
    expect(layoutOf(layoutInput(modelOf(turned)))).toEqual(layoutOf(layoutInput(modelOf(graph))));
  });

  test('callers are left of whom they call, as far as there is no cycle', () => {
    const { boxes, points } = layoutOf(layoutInput(modelOf(graphOf(rows(6)))));
    const xs = [0, 1, 2, 3].map((n) => boxes.get(`group:ns/n${n}`)?.x ?? Number.NaN);
    expect(xs).toEqual(xs.toSorted((a, b) => a - b));
    const small = layoutOf(layoutInput(shop())).points;
    expect(small.get(id('shop/web'))?.x).toBeLessThan(small.get(id('shop/cart'))?.x ?? 0);
    expect(points.size).toBe(24);
  });

  test('no two rooms overlap, every workload stands in its own room and on its own place', () => {
    for (const graph of [graphOf(rows(25, 6)), graphOf(SHOP), graphOf(rows(3, 30))]) {
      const model = modelOf(graph);
      const layout = layoutOf(layoutInput(model));
      const boxes = [...layout.boxes.values()];
      const touching = boxes.filter((a) =>
        boxes.some(
          (b) =>
            a !== b &&
            Math.abs(a.x - b.x) < (a.w + b.w) / 2 - 1e-9 &&
            Math.abs(a.y - b.y) < (a.h + b.h) / 2 - 1e-9,
        ),
      );
      expect(touching).toEqual([]);
      for (const [place, at] of layout.points) expect(boxAt(layout, at)).toBe(model.places.get(place)?.group);
      const spots = [...layout.points.values()].map(({ x, y }) => `${x.toFixed(3)},${y.toFixed(3)}`);
      expect(new Set(spots).size).toBe(spots.length);
    }
  });

  test('newcomers move nobody: a workload takes a free place of its room, a namespace one below', () => {
    const before = layoutOf(layoutInput(modelOf(graphOf(rows(9)))));
    const model = modelOf(graphOf([...rows(9), edge('n1/new', 'n2/w3'), edge('fresh/one', 'n1/w0')]));
    const after = layoutOf(layoutInput(model), before);
    for (const [place, at] of before.points) expect(after.points.get(place)).toEqual(at);
    expect(boxAt(after, after.points.get(id('n1/new')) ?? { x: 0, y: 0 })).toBe('group:ns/n1');
    expect(boxAt(after, after.points.get(id('fresh/one')) ?? { x: 0, y: 0 })).toBe('group:ns/fresh');
    const spots = [...after.points.values()].map(({ x, y }) => `${x.toFixed(3)},${y.toFixed(3)}`);
    expect(new Set(spots).size).toBe(spots.length);
  });

  test('a namespace that has outgrown its room is given one, and all still stand apart', () => {
    const before = layoutOf(layoutInput(modelOf(graphOf(rows(4)))));
    const model = modelOf(graphOf(rows(40)));
    const after = layoutOf(layoutInput(model), before);
    expect(after).toEqual(layoutOf(layoutInput(model)));
  });

  test('an estate with nothing in it has a layout', () => {
    const layout = layoutOf(layoutInput(modelOf(graphOf([]))));
    expect(extentOf(layout)).toEqual({ x: [0, 1], y: [0, 1] });
  });
});

describe('the matrix', () => {
  test('has a row for who calls and a column for who is called, and the state in their cell', () => {
    const model = shop();
    const matrix = matrixOf(model, shownOf(model, new Set(['group:ns/shop'])), ALL_LAYERS);
    expect(matrix.callers.map(({ name }) => name)).toEqual(['batch', 'no identity', 'cart', 'web']);
    expect(matrix.callees.map(({ name }) => name)).toEqual(['pay', 'cart', 'web']);
    expect(cellAt(matrix, 3, 0)?.kind).toBe('would-deny');
    expect(cellAt(matrix, 0, 1)).toBeUndefined();
    expect(matrix.callers.filter(({ startsGroup }) => startsGroup)).toHaveLength(3);
  });

  test('keys move inside it, and with Ctrl to the next cell that holds something', () => {
    const model = shop();
    const matrix = matrixOf(model, shownOf(model, new Set(['group:ns/shop'])), ALL_LAYERS);
    expect(moved(matrix, { row: 0, column: 0 }, 'ArrowUp', false)).toEqual({ row: 0, column: 0 });
    expect(moved(matrix, { row: 0, column: 0 }, 'ArrowDown', true)).toEqual({ row: 2, column: 0 });
    expect(moved(matrix, { row: 0, column: 0 }, 'ArrowRight', true)).toEqual({ row: 0, column: 0 });
    expect(moved(matrix, { row: 0, column: 0 }, 'x', false)).toBeUndefined();
  });
});
