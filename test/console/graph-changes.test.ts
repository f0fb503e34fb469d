import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { graphAfter } from '../../console/src/api/graph-changes.ts';
import type { Received } from '../../src/api/index.ts';
import { apiApp } from '../../src/server/api/app.ts';
import { type TestApi, testApi, VIEWER } from '../../src/server/api/testing.test-helper.ts';
import {
  accessAt,
  cart,
  reporterOf,
  reportOf,
  web,
} from '../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { type Edge, emptyEdge } from '../../src/server/estate/edges.ts';
import { GraphHistory } from '../../src/server/estate/graph-history.ts';
import type { GraphMoment } from '../../src/server/estate/graph.ts';

type Graph = Received<'graph.get'>;

function drained<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

const read = (bytes: Uint8Array): Graph => JSON.parse(new TextDecoder().decode(bytes));
/** What a graph says, in whatever order. */
const said = ({ trustDomain, isCut, nodes, edges }: Graph) => ({
  trustDomain,
  isCut,
  nodes: nodes.map((node) => JSON.stringify(node)).sort(),
  edges: edges.map((edge) => JSON.stringify(edge)).sort(),
});

const nodeOf = (id: string, released: number): GraphMoment['nodes'][number] => ({
  id,
  kind: 'workload',
  name: id,
  workloads: 1,
  stages: { none: 1 },
  released,
});
const edgeOf = (from: string, to: string, calls: number): Edge => ({ ...emptyEdge(from, to), calls });
const momentOf = (
  ids: readonly string[],
  edges: readonly Edge[],
  released = 0,
  isCut = false,
): GraphMoment => ({
  trustDomain: 'example.org',
  nodes: ids.map((id) => nodeOf(id, released)),
  edges,
  isCut,
});

/** A reader of the console: it knows one version, and asks for what has changed since. */
class Reader {
  graph: Graph | undefined;
  readonly sizes: number[] = [];

  read(history: GraphHistory): Graph {
    const since = this.graph?.version;
    const changes = since === undefined ? undefined : drained(history.since(since));
    const answer = read(changes ?? drained(history.whole()));
    this.sizes.push(answer.nodes.length + answer.edges.length);
    this.graph = graphAfter(this.graph, answer);
    return this.graph;
  }
}

describe('a graph that is read by its changes', () => {
  const names = ['a', 'b', 'c', 'd'];
  const edge = fc
    .tuple(fc.constantFrom(...names), fc.constantFrom(...names), fc.integer({ min: 0, max: 2 }))
    .map(([from, to, calls]) => edgeOf(from, to, calls));
  const moment = fc
    .tuple(
      fc.subarray(names),
      fc.uniqueArray(edge, { selector: ({ from, to }) => `${from} ${to}` }),
      fc.integer({ min: 0, max: 1 }),
      fc.boolean(),
    )
    .map((parts) => momentOf(...parts));
  /** Which of three readers read after a moment, and from which of two control planes. */
  const round = fc.record({
    moment,
    readers: fc.subarray([0, 1, 2]),
    plane: fc.constantFrom(0, 1),
    isRestarted: fc.boolean(),
  });

  test('is the whole for every reader, whenever and from whichever control plane they read, also after a restart', () => {
    fc.assert(
      fc.property(fc.array(round, { maxLength: 12 }), (rounds) => {
        const planes = [new GraphHistory(), new GraphHistory()];
        const readers = [new Reader(), new Reader(), new Reader()];
        for (const { moment: now, readers: reading, plane, isRestarted } of rounds) {
          if (isRestarted) planes[plane] = new GraphHistory();
          for (const history of planes) drained(history.take(now));
          const history = planes[plane];
          if (history === undefined) throw new TypeError('there are two');
          const whole = read(drained(history.whole()));
          for (const i of reading) {
            const known = readers[i]?.graph?.version;
            expect(said(readers[i]?.read(history) ?? whole)).toEqual(said(whole));
            // The same version says the same, so that nothing is read twice.
            if (known === whole.version) expect(readers[i]?.sizes.at(-1)).toBe(0);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  test('is told what has changed alone, and all of it once more has gone than is remembered', () => {
    const history = new GraphHistory();
    const reader = new Reader();
    const late = new Reader();
    const many = (n: number) => Array.from({ length: 1500 }, (_, i) => edgeOf(`${n}-${i}`, 'a', 1));
    drained(history.take(momentOf(['a'], many(0))));
    late.read(history);
    for (const n of [0, 1, 2]) {
      drained(history.take(momentOf(['a'], many(n))));
      expect(said(reader.read(history))).toEqual(said(read(drained(history.whole()))));
    }
    const one = many(2).map((each, i) => (i === 7 ? { ...each, calls: 2 } : each));
    drained(history.take(momentOf(['a'], one)));
    reader.read(history);
    late.read(history);
    expect(reader.sizes).toEqual([1501, 1500, 1500, 1]);
    expect(late.sizes).toEqual([1501, 1501]);
    expect(said(late.graph ?? reader.read(history))).toEqual(said(reader.read(history)));
  });

  test.each(['', 'x', '0', '-1', `${'a'.repeat(12)}-1`, `${'a'.repeat(12)}-99999999999999999999`])(
    'is read as a whole since a version that nobody has given (%s)',
    (since) => {
      const history = new GraphHistory();
      drained(history.take(momentOf(['a'], [])));
      expect(drained(history.since(since))).toBeUndefined();
      expect(drained(history.since(history.version.replace(/\d+$/, '2')))).toBeUndefined();
      expect(drained(history.since(history.version.replace(/\d+$/, '0')))).toBeUndefined();
    },
  );
});

describe('the graph of a control plane', () => {
  const undo: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).toReversed()) await step();
  });

  async function shown(api: TestApi, of: ReturnType<typeof apiApp>, query: string): Promise<Graph> {
    const answer = await of.request(`/v1/graph?by=workload${query}`);
    expect([answer.status, api.faults]).toEqual([200, []]);
    return (await answer.json()) as Graph;
  }

  test('is told by its changes to who knows a version of it, and as a whole by another control plane', async () => {
    const api = await testApi();
    undo.push(() => api.close());
    const { estate } = api.serving.api;
    const apps = [1, 2].map(() => apiApp(api.serving.api, () => VIEWER, { checkAnswers: true }));
    const [here, other] = apps;
    if (here === undefined || other === undefined) throw new TypeError('there are two');
    const now = Date.now();
    let sequence = 0;
    const report = async (...texts: string[]) => {
      const changed = new Promise<void>((resolve) => {
        const stop = estate.onChange(() => {
          stop();
          resolve();
        });
      });
      const action = (text: string) => ({ action: { kind: 'http', port: 80, name: 'GET', text } });
      const accesses = [
        ...texts.map((text) => accessAt(now - 1000, action(text))),
        ...(sequence > 0
          ? []
          : [accessAt(now - 1000, { ...action('/x'), to: web, from: { spiffeId: cart } })]),
      ];
      const reporter = reporterOf('a', { workloads: [cart, web] });
      await api.serving.enforcing.evidence.take(reporter, reportOf(++sequence, { accesses }));
      await changed;
    };
    await report('/a');
    const first = await shown(api, here, '');
    expect([first.since, first.edges.length]).toEqual([undefined, 2]);
    await report('/b', '/c');
    const changes = await shown(api, here, `&since=${first.version}`);
    expect([changes.since, changes.nodes, changes.edges.map(({ to }) => to)]).toEqual([
      first.version,
      [],
      [cart],
    ]);
    const whole = await shown(api, here, '');
    expect(said(graphAfter(first, changes))).toEqual(said(whole));
    const nothing = await shown(api, here, `&since=${whole.version}`);
    expect([nothing.version, nothing.nodes, nothing.edges, nothing.gone]).toEqual([
      whole.version,
      [],
      [],
      { nodes: [], edges: [] },
    ]);
    expect(graphAfter(whole, nothing)).toBe(whole);
    const elsewhere = await shown(api, other, `&since=${whole.version}`);
    expect(elsewhere.since).toBeUndefined();
    expect(said(graphAfter(whole, elsewhere))).toEqual(said(whole));
  });
});
