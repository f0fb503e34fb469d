import { expect, test } from 'vitest';
import { buildGraph, drained, principalText, Tally } from '../../access/index.ts';
import { cart, web } from '../enforcement/evidence/evidence.test-helper.ts';
import { PairEdges } from './edges.ts';
import { graphOf } from './graph.ts';
import { judge } from './judged.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** How many accesses count as new of those that were first seen at these times. */
function newOf(firstSeen: readonly number[], now: number): number | undefined {
  const tally = new Tally('proxy');
  for (const [i, at] of firstSeen.entries()) {
    const action = { kind: 'http', port: 80, method: 'GET', path: `/${i}` } as const;
    tally.access({ spiffeId: web }, { spiffeId: cart }, action, 'callee').add(at, 'ok', 'i', 1);
  }
  const nothing = { blindSpots: [], facts: [], events: 0, lost: 0 };
  const graph = buildGraph({ trustDomain: 'example.org', accesses: [...tally.accesses()], ...nothing });
  const byCallee = Map.groupBy(graph.accesses, ({ to }) => principalText(to));
  const judged = drained(judge({ version: 1, at: now, graph, byCallee }, new Map()));
  const facts = { stageOf: () => 'none', isReleased: () => false };
  return drained(graphOf(judged, new PairEdges(), { by: 'workload' }, facts, now)).edges[0]?.fresh;
}

test('of an estate that is seen for the first time nothing is new, and what comes later is', () => {
  const start = 100 * DAY_MS;
  const known = [start, start + 1000, start + 2000];
  expect(newOf(known, start + 10 * MINUTE_MS)).toBe(0);
  expect(newOf([...known, start + 9 * MINUTE_MS], start + 10 * MINUTE_MS)).toBe(1);
  // What is watched for long calls new what came in the last day.
  const later = start + 30 * DAY_MS;
  expect(newOf([...known, later - 2 * DAY_MS, later - DAY_MS / 2], later)).toBe(1);
});
