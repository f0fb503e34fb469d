import type { Action, Outcome } from '../../access/index.ts';
import { Downstream } from '../http1/downstream.ts';
import { type Gate, HTTP_FAULT_EVENTS, type HttpFault } from '../http1/gate.ts';
import type { Pool } from '../http1/pool.ts';
import type { RequestHead } from '../http1/request-head.ts';
import type { Judgement } from '../types.ts';
import { callerText } from './caller.ts';
import type { HeldAccess, InboundConnection, ProtocolHandler } from './connection.ts';

const NOTHING = Buffer.alloc(0);

/** Serves HTTP/1.1 on a connection: every request is judged before the first byte of it goes on. */
export function serveHttp1(connection: InboundConnection, pool: Pool, first: Buffer | undefined): void {
  connection.handler = new Http1Handler(connection, pool, first);
}

class Http1Handler implements Gate, ProtocolHandler {
  readonly added: Buffer;
  readonly #connection: InboundConnection;
  readonly #downstream: Downstream;
  #action: Action | undefined;
  #judgement: Judgement | undefined;

  constructor(connection: InboundConnection, pool: Pool, first: Buffer | undefined) {
    this.#connection = connection;
    this.added = callerLine(connection);
    const { clock, timeouts } = connection.context;
    this.#downstream = new Downstream(connection.socket, { gate: this, pool, clock, timeouts }, first);
  }

  admit(head: RequestHead): boolean {
    const connection = this.#connection;
    head.sourceAddress = connection.sourceAddress;
    // Judging takes a seventh of a microsecond: remembering the last judgement of a connection gains nothing.
    const action: Action = {
      kind: 'http',
      port: connection.route.port,
      method: head.method,
      path: head.judgedPath,
    };
    const judgement = connection.judge(action, head);
    if (!judgement.allowed) connection.record(action, judgement, 'denied');
    this.#action = action;
    this.#judgement = judgement;
    return judgement.allowed;
  }

  ended(outcome: Outcome): void {
    if (this.#action === undefined || this.#judgement === undefined) return;
    this.#connection.record(this.#action, this.#judgement, outcome);
  }

  fault(where: HttpFault, reason: string): void {
    const { counters } = this.#connection.context;
    if (where === 'request') counters.badRequests++;
    else if (where === 'response') counters.badAnswers++;
    this.#connection.log(HTTP_FAULT_EVENTS[where], reason);
  }

  drain(): void {
    this.#downstream.drain();
  }

  held(): readonly HeldAccess[] {
    const action = this.#action;
    if (this.#downstream.isIdle || action === undefined) return [];
    const cut = () => this.#downstream.destroy();
    // A tunnel's head is long gone, that of a request on its way is still there.
    const isOver = () => this.#action !== action || this.#downstream.isIdle;
    return [{ action, attributes: this.#downstream.head, cut, isOver }];
  }
}

function callerLine({ caller, route }: InboundConnection): Buffer {
  const text = callerText(caller, route);
  return text === undefined ? NOTHING : Buffer.from(`x-forwarded-client-cert: ${text}\r\n`, 'latin1');
}
