import { status } from '@grpc/grpc-js';
import { ERROR_CODES, isInterlockError } from '../access/index.ts';

/** What Envoy is told of an error: the status that its code's row names. Our own faults say nothing of themselves. */
export function statusOf(error: unknown): { code: number; details: string } {
  if (!isInterlockError(error)) return { code: status.INTERNAL, details: 'a fault of the relay' };
  return { code: ERROR_CODES[error.code].grpc, details: error.message };
}
