import type { Socket } from 'node:net';
import { type Action, actionText, type Outcome } from '../../access/index.ts';
import type { RequestAttributes } from '../../policy/index.ts';
import type { AccessRecorder, Caller, InboundRoute, Judgement } from '../types.ts';
import type { Clock, Peer } from '../../workload/index.ts';
import type { Counters } from '../counters.ts';
import type { Timeouts } from '../settings.ts';
import type { Verdicts } from '../verdicts/verdicts.ts';

/** What every inbound connection of a proxy has in common. */
export interface InboundContext {
  readonly verdicts: Verdicts;
  readonly recorder: AccessRecorder;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly counters: Counters;
  /** Reasons for the log; nothing of it reaches a caller. */
  readonly log: (line: LogLine) => void;
}

/** One thing that an operator may want to know. */
export interface LogLine {
  readonly event:
    | 'refused'
    | 'denied'
    | 'bad-request'
    | 'bad-answer'
    | 'unreachable'
    | 'cut'
    | 'busy'
    | 'unmanaged'
    | 'fault';
  readonly workload?: string;
  /** The SPIFFE ID of who calls, where it was proven. */
  readonly caller?: string;
  readonly from?: string;
  /** What was denied. */
  readonly action?: string;
  readonly reason: string;
}

/** An access that goes on: a connection, a tunnel, a long call. */
export interface HeldAccess {
  readonly action: Action;
  readonly attributes?: RequestAttributes;
  /** Ends it because policy does not allow it any more. */
  cut(): void;
  /** It has ended, while its connection may go on; absent where both are one. */
  isOver?(): boolean;
}

/** Whoever speaks the protocol of a connection: HTTP/1.1, HTTP/2 or none. */
export interface ProtocolHandler {
  /** Takes no new requests, ends after those on their way, and then closes the socket. */
  drain(): void;
  /** What goes on at this moment. */
  held(): readonly HeldAccess[];
}

/** One inbound connection whose caller is known, ready for its protocol. */
export class InboundConnection {
  readonly socket: Socket;
  readonly route: InboundRoute;
  readonly caller: Caller;
  readonly context: InboundContext;
  /** `ADDRESS:PORT` of the caller, as conditions see it. */
  readonly sourceAddress: string;
  /** It came with a PROXY header that was believed. */
  readonly isTrustedHop: boolean;
  /** The peer of mutual TLS, to be judged again when trust changes. */
  peer: Peer | undefined;
  /** Set by whoever speaks the protocol. */
  handler: ProtocolHandler | undefined;

  constructor(
    socket: Socket,
    route: InboundRoute,
    caller: Caller,
    context: InboundContext,
    isTrustedHop = false,
  ) {
    this.socket = socket;
    this.route = route;
    this.caller = caller;
    this.context = context;
    this.isTrustedHop = isTrustedHop;
    const { address, port } = caller;
    this.sourceAddress = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** The judgement of this moment. */
  judge(action: Action, attributes?: RequestAttributes): Judgement {
    return this.context.verdicts.judge(this.route.workload, this.caller.principal, action, attributes);
  }

  /** Reports an access that ended, or was denied; the latter goes to the log with the rule as well. */
  record(action: Action, judgement: Judgement, outcome: Outcome): void {
    const { workload } = this.route;
    const { clock, recorder } = this.context;
    recorder.record({ workload, caller: this.caller, action, judgement, outcome, at: clock.now() });
    if (outcome === 'denied') this.#logDenial(action, judgement);
  }

  /** Reports a caller that is refused before there is anything to judge: no policy has denied it, so it is no flip. */
  refused(reason: string): void {
    const { route, caller, context } = this;
    const action = { kind: 'tcp', port: route.port } as const;
    context.counters.refused++;
    this.log('refused', reason);
    context.recorder.record({
      workload: route.workload,
      caller,
      action,
      judgement: undefined,
      outcome: 'denied',
      at: context.clock.now(),
    });
  }

  /** Writes a line about this connection. */
  log(event: LogLine['event'], reason: string, action?: Action): void {
    const { principal } = this.caller;
    this.context.log({
      event,
      workload: this.route.workload,
      ...(principal.kind === 'workload' ? { caller: principal.id } : {}),
      from: this.sourceAddress,
      ...(action === undefined ? {} : { action: actionText(action) }),
      reason,
    });
  }

  #logDenial(action: Action, { before }: Judgement): void {
    const { decidedBy, policy, rule } = before;
    this.log('denied', rule === undefined ? decidedBy : `${decidedBy} ${policy ?? ''}/${rule}`, action);
  }
}
