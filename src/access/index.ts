export * from './action.ts';
export * from './duration.ts';
export { buildGraph, graphSteps } from './graph/build-graph.ts';
export type { Covered, RecordedCoverage } from './graph/coverage.ts';
export { type Declared, Directory, type Resolved, type Undeclared } from './inventory/directory.ts';
export * from './endpoint.ts';
export * from './error.ts';
export * from './evidence.ts';
export * from './graph/graph.ts';
export { GrowingGraph, type GrownRecord } from './graph/growing-graph.ts';
export type { Recorded } from './graph/recorded.ts';
export { HourCounts } from './hour-counts.ts';
export {
  Identities,
  type Identity,
  type Named,
  type OwnAccount,
  serviceAccountManifests,
} from './inventory/identify.ts';
export * from './inventory/facts.ts';
export { collapseHard, collapsePath, isCollapsed, MAX_PATHS } from './path-limit.ts';
export * from './principal.ts';
export * from './spiffe-id.ts';
export { drained } from './steps.ts';
export * from './tally.ts';
export { Counter, MAX_STRANGER_ACCESSES, Pair, type RecordedAccess, type Side } from './tally-access.ts';
export * from './tally-data.ts';
