// Rehearsal of a policy set against 100,000 distinct accesses that stand for 1,000 million calls, and the memory
// that so many accesses take. The peer is a bare loop over the same accesses that calls `decide` and nothing else.
import {
  type Access,
  type AccessGraph,
  type Action,
  addCall,
  addInstance,
  emptyEvidence,
  HOUR_MS,
  parseSpiffeId,
  type Principal,
} from '../src/access/index.ts';
import { propose } from '../src/learning/index.ts';
import { compile, decide } from '../src/policy/index.ts';
import { rehearse } from '../src/rollout/index.ts';

const ACCESSES = 100_000;
const CALLS = 1_000_000_000;
const CALLEES = 200;
const CALLERS = 50;
const HOURS = 24;
const START = Date.UTC(2026, 9, 5);

function principal(name: string): Principal {
  return { kind: 'workload', id: parseSpiffeId(`spiffe://example.org/ns/bench/sa/${name}`) };
}

/** 200 callees, 50 callers each, 10 actions each, seen in 24 hours over four weeks. */
function graphOf(): AccessGraph {
  const accesses: Access[] = [];
  const callers = Array.from({ length: CALLERS }, (_, i) => principal(`caller-${i}`));
  const hours = new Set<number>();
  for (let i = 0; i < ACCESSES; i++) {
    const callee = i % CALLEES;
    const caller = Math.floor(i / CALLEES) % CALLERS;
    const n = Math.floor(i / CALLEES / CALLERS);
    const action: Action =
      n % 2 === 0
        ? { kind: 'http', port: 8080, method: 'GET', path: `/api/resource${n}/items` }
        : { kind: 'grpc', port: 8080, service: `bench.Service${n}`, method: 'Get' };
    const evidence = emptyEvidence();
    for (let h = 0; h < HOURS; h++) {
      const hour = Math.floor(START / HOUR_MS) + h * 28 + (i % 28);
      hours.add(hour);
      addCall(evidence, hour * HOUR_MS + 1, 'ok', Math.floor(CALLS / ACCESSES / HOURS) + 1);
    }
    for (let k = 0; k < 3; k++) addInstance(evidence, `caller-${caller}-${k}`);
    evidence.sources.add('envoy');
    accesses.push({
      from: callers[caller] as Principal,
      to: principal(`callee-${callee}`),
      action,
      views: ['observed'],
      evidence,
      declared: [],
      collapsed: false,
    });
  }
  const coverage = {
    firstSeen: START,
    lastSeen: START + 28 * 24 * HOUR_MS,
    hours: [...hours].toSorted((a, b) => a - b),
    events: CALLS,
    lost: 0,
  };
  return {
    trustDomain: 'example.org',
    workloads: new Map(),
    accesses,
    blindSpots: [],
    sharedAccounts: [],
    coverage,
  };
}

const megabytes = (bytes: number) => `${(bytes / 1048576).toFixed(0)} MB`;
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

function timed(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** Prints the time of a rehearsal, its ratio to bare verdicts, and the memory of the graph. */
export function bench(report: (line: string) => void): void {
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const graph = graphOf();
  globalThis.gc?.();
  const after = process.memoryUsage().rss;
  report(
    `${ACCESSES.toLocaleString('en-US')} accesses x ${HOURS} hours in memory: ${megabytes(after - before)} (target under 400 MB)`,
  );
  const { policies } = propose(graph, { accept: () => true });
  const set = compile(policies);
  const rehearsals: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < 7; round++) {
    rehearsals.push(
      timed(() => {
        const { flips, calls } = rehearse(graph, set);
        if (flips.length > 0 || calls < CALLS) throw new Error(`${flips.length} flips over ${calls} calls`);
      }),
    );
    bare.push(
      timed(() => {
        for (const { from, to, action } of graph.accesses) {
          if (to.kind === 'workload' && !decide(set, { from, to: to.id, action }).allowed)
            throw new Error('denied');
        }
      }),
    );
  }
  const [whole, verdicts] = [median(rehearsals), median(bare)];
  report(
    `rehearsal standing for ${CALLS.toLocaleString('en-US')} calls: ${whole.toFixed(0)} ms (target under 2,000 ms)`,
  );
  report(`that is ${(whole / verdicts).toFixed(1)} times the bare verdicts (${verdicts.toFixed(0)} ms)`);
  report(`peak memory of the process: ${megabytes(process.resourceUsage().maxRSS * 1024)}`);
}

if (import.meta.main) bench(console.log);
