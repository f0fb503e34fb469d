import type { AccessGraph, SpiffeId } from '../access/index.ts';
import { learnRoutes } from './propose/index.ts';
import { type AccessUnit, unitsOf } from './readiness/index.ts';

/**
 * The accesses to one workload as rules would name them: paths as their learned templates, so that a new order
 * number is not taken for a new access.
 */
export function accessUnits(graph: AccessGraph, to: SpiffeId): AccessUnit[] {
  const accesses = graph.accesses.filter((access) => access.to.kind === 'workload' && access.to.id === to);
  const routes = learnRoutes(accesses, undefined);
  return unitsOf(graph, to, (action) => {
    const named = routes.actionOf(action);
    return named?.kind === 'http' ? named.path : action.path;
  });
}
