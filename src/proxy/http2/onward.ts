import type { HttpFault } from '../http1/gate.ts';
import type { OutgoingHttpHeaders } from 'node:http2';
import type { Outcome } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import type { Timeouts } from '../settings.ts';

/** A call that lasts longer is recorded then: a stream may stay for months, and evidence is not to wait for its end. */
export const LONG_MS = 60_000;

/** The way of a request to whoever answers it. */
export interface Onward {
  /** Sends more of the body; false where the sender has to wait for `Exchange.onwardDrained`. */
  write(chunk: Buffer): boolean;
  end(trailers: OutgoingHttpHeaders | undefined): void;
  /** The answer waits, or goes on. */
  pause(): void;
  resume(): void;
  /** Nobody wants the answer, with the code of RFC 9113 section 7. */
  abandon(code: number): void;
}

/** Who is told about an exchange. */
export interface ExchangeOwner {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** How it ended: told once, or after {@link LONG_MS} for what goes on longer. Not for what was refused. */
  ended(outcome: Outcome): void;
  fault(where: HttpFault, reason: string): void;
}
