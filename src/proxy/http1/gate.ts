import type { Outcome } from '../../access/index.ts';
import type { RequestHead } from './request-head.ts';

/** What a fault of HTTP is about. */
export type HttpFault = 'request' | 'response' | 'way';

/** How the log calls it. */
export const HTTP_FAULT_EVENTS = {
  request: 'bad-request',
  response: 'bad-answer',
  way: 'unreachable',
} as const satisfies Record<HttpFault, string>;

/** What is asked and told about the requests of one connection, one at a time. */
export interface Gate {
  /** Whether the request may go on. A refused one is answered with 403 and reported here. */
  admit(head: RequestHead): boolean;
  /** The request that was admitted last has ended: how. Not called for one that was refused. */
  ended(outcome: Outcome): void;
  /** Field lines that each request is given on its way: who calls. */
  readonly added: Buffer;
  /** A sender that does not speak HTTP as it must (`request`), a program that does not (`response`), or is not reached (`way`): for the log. */
  fault(where: HttpFault, reason: string): void;
}
