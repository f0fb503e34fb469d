import { type Action, collapseHard } from '../../../access/index.ts';
import {
  flipKey,
  type PlaintextCaller,
  plaintextKey,
  type SeenFlip,
  type UnreachedCalls,
  unreachedKey,
} from '../../../store/index.ts';
import { SightingBook } from './sighting-book.ts';

/** Some request of a workload with too many different ones. */
const SOME_PATH = collapseHard('/');
const UNKNOWN = 'unknown';

/** The flips that points report, added up. */
export function flipBook(kept: readonly SeenFlip[] = []): SightingBook<SeenFlip> {
  return new SightingBook(
    {
      keyOf: flipKey,
      workloadOf: ({ to }) => to,
      sum: sumOfFlips,
      widened: (flip) => ({ ...flip, from: widenedCaller(flip.from), action: widenedAction(flip.action) }),
      mostOfOne: 2000,
      most: 100_000,
    },
    kept,
  );
}

/** Two sightings of one flip as one. */
export function sumOfFlips(a: SeenFlip, b: SeenFlip): SeenFlip {
  return { ...b, count: a.count + b.count, ...timesOf(a, b) };
}

/** The callers in plain text that points report. */
export function plaintextBook(kept: readonly PlaintextCaller[] = []): SightingBook<PlaintextCaller> {
  return new SightingBook(
    {
      keyOf: plaintextKey,
      workloadOf: ({ to }) => to,
      sum: (a, b) => ({ ...b, connections: a.connections + b.connections, ...timesOf(a, b) }),
      widened: (caller) => ({ ...caller, from: UNKNOWN }),
      mostOfOne: 5000,
      most: 50_000,
    },
    kept,
  );
}

/** The calls that points say never arrived. Bounded by who reports them: no peer can do anything about them. */
export function unreachedBook(kept: readonly UnreachedCalls[] = []): SightingBook<UnreachedCalls> {
  return new SightingBook(
    {
      keyOf: unreachedKey,
      workloadOf: ({ from }) => from,
      sum: (a, b) => ({ ...b, count: a.count + b.count, ...timesOf(a, b) }),
      widened: (calls) => ({ ...calls, host: UNKNOWN, port: 0 }),
      mostOfOne: 1000,
      most: 50_000,
    },
    kept,
  );
}

interface Times {
  readonly firstSeen: number;
  readonly lastSeen: number;
}

function timesOf(a: Times, b: Times): Times {
  return { firstSeen: Math.min(a.firstSeen, b.firstSeen), lastSeen: Math.max(a.lastSeen, b.lastSeen) };
}

function widenedCaller(from: SeenFlip['from']): SeenFlip['from'] {
  return from.kind === 'workload' ? from : { kind: 'unauthenticated', from: UNKNOWN };
}

/** Paths, methods and services are the caller's to invent. */
function widenedAction(action: Action): Action {
  return action.kind === 'tcp' ? action : { kind: 'http', port: action.port, method: 'GET', path: SOME_PATH };
}
