import { ERROR_CODES, isInterlockError } from '../../access/index.ts';
import { retryAfterOf } from './retry-after.ts';

/** An error as an HTTP API gives it (RFC 9457), with our closed code. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly subject: string;
  /** What the error says beside: `checks` of a promotion that is refused. */
  readonly [extension: string]: unknown;
}

/** The problem of an error; the program's own faults say nothing of themselves. `status` stands for that of the code. */
export function problemOf(error: unknown, status?: number): Problem {
  if (!isInterlockError(error)) {
    return {
      status: 500,
      title: 'fault',
      detail: 'a fault of the control plane; its log says more',
      code: 'fault',
      subject: '',
    };
  }
  const { code, message, subject, details } = error;
  return {
    ...details,
    status: status ?? (retryAfterOf(error) === undefined ? ERROR_CODES[code].http : 429),
    title: code.replaceAll('_', ' '),
    detail: message,
    code,
    subject,
  };
}
