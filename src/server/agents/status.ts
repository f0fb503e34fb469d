import { status } from '@grpc/grpc-js';
import { ERROR_CODES, type InterlockError, isInterlockError } from '../../access/index.ts';

/** What a caller is told of an error: the status that its code's row names. The program's own faults say nothing. */
export function statusOf(error: unknown): { code: number; details: string } {
  if (!isInterlockError(error)) return { code: status.INTERNAL, details: 'a fault of the control plane' };
  return { code: ERROR_CODES[error.code].grpc, details: error.message };
}

/** How long to wait before asking again, by code; 0: only a change helps. */
export function retryAfterMs(error: InterlockError): number {
  switch (error.code) {
    case 'unavailable':
    case 'io':
    case 'state':
      return 5000;
    case 'limit':
      return 1000;
    default:
      return 0;
  }
}
