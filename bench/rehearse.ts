// Rehearsal of a policy set against 100,000 distinct accesses that stand for 1,000 million calls, and the memory
// that so many accesses take, in the graph and in a whole command over them. The peer is a bare loop over the same
// accesses that calls `decide` and nothing else.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Access,
  type AccessGraph,
  type Action,
  addCall,
  addInstance,
  emptyEvidence,
  HOUR_MS,
  mergeEvidence,
  parseSpiffeId,
  type Principal,
  principalText,
  Tally,
} from '../src/access/index.ts';
import { propose } from '../src/learning/index.ts';
import { compile, decide } from '../src/policy/index.ts';
import { rehearse } from '../src/rollout/index.ts';
import { openSqliteStore } from '../src/store/index.ts';

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

/** The same accesses as a recording. */
function tallyOf({ accesses }: AccessGraph): Tally {
  const tally = new Tally('envoy');
  tally.read = tally.accepted = CALLS;
  for (const { from, to, action, evidence } of accesses) {
    const ends = [{ spiffeId: principalText(from) }, { spiffeId: principalText(to) }] as const;
    mergeEvidence(tally.access(...ends, action, 'callee').evidence, evidence);
  }
  tally.cover(START);
  tally.cover(START + 28 * 24 * HOUR_MS);
  return tally;
}

const CLI = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
/** Makes a process tell its peak on standard error. Linux's figure is its own; getrusage's is the parent's if that was larger. */
const TELL_PEAK = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeSync } from 'node:fs';
  process.on('exit', () => {
    let kb = process.resourceUsage().maxRSS;
    try { kb = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]); } catch {}
    writeSync(2, '\\npeak ' + kb);
  });
`)}`;

/** Peak memory in bytes of `interlock access` over a state, into a file or a pipe. */
function peakOf(state: string, into: 'a file' | 'a pipe', args: readonly string[]): number {
  const out = into === 'a file' ? openSync(join(state, 'out'), 'w') : 'pipe';
  const command = ['--import', TELL_PEAK, CLI, 'access', '--state', state, ...args];
  const done = spawnSync(process.execPath, command, {
    stdio: ['ignore', out, 'pipe'],
    encoding: 'utf8',
    maxBuffer: 1024 ** 3,
  });
  if (typeof out === 'number') closeSync(out);
  const peak = /peak (\d+)$/.exec(done.stderr)?.[1];
  if (done.status !== 0 || peak === undefined)
    throw new Error(`interlock access failed: ${done.stderr || done.error}`);
  return Number(peak) * 1024;
}

/** Prints the peak memory of a whole command over the same accesses. */
async function benchCommand(report: (line: string) => void): Promise<void> {
  const state = mkdtempSync(join(tmpdir(), 'interlock-bench-'));
  try {
    const store = openSqliteStore(state, { create: true });
    const files = [{ name: 'bench', digest: 'bench', bytes: 1 }];
    await store.addRecording({ format: 'envoy', files, takenAt: START }, tallyOf(graphOf()));
    await store.close();
    for (const into of ['a file', 'a pipe'] as const) {
      for (const args of [[], ['--json']]) {
        const peak = megabytes(peakOf(state, into, args));
        report(`interlock ${['access', ...args].join(' ')} into ${into}: peak ${peak} (target under 400 MB)`);
      }
    }
  } finally {
    rmSync(state, { recursive: true });
  }
}

/** Prints the time of a rehearsal, its ratio to bare verdicts, and the memory of the graph and of a command. */
export async function bench(report: (line: string) => void): Promise<void> {
  benchRehearsal(report);
  await benchCommand(report);
}

function benchRehearsal(report: (line: string) => void): void {
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

if (import.meta.main) await bench(console.log);
