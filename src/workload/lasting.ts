import type { InterlockError } from '../access/index.ts';
import { WorkloadApiError } from './api-error.ts';

/**
 * True where waiting longer is useless: a final answer, or, before anything was ever received, an agent that does not
 * offer this kind of identity. Later that one may pass: an agent that is being replaced answers so too.
 */
export function isLasting(error: InterlockError, hasState: boolean): boolean {
  if (!(error instanceof WorkloadApiError)) return false;
  return error.final || (error.code === 'not_found' && !hasState);
}
