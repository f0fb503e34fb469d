import { HTTP_FAULT_EVENTS, type HttpFault } from '../http1/gate.ts';
import type { ServerHttp2Stream } from 'node:http2';
import type { Action, Outcome } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import { callerText } from '../inbound/caller.ts';
import type { HeldAccess, InboundConnection, ProtocolHandler } from '../inbound/connection.ts';
import type { Http2Server, ToProgram } from '../inbound/protocols.ts';
import type { Timeouts } from '../settings.ts';
import type { Judgement } from '../types.ts';
import { Exchange } from './exchange.ts';
import type { Http2Head } from './head.ts';
import type { ExchangeOwner } from './onward.ts';
import { sendOverHttp1 } from './over-http1.ts';
import { sendOverHttp2 } from './over-http2.ts';
import type { ProgramSessions } from './program-sessions.ts';
import { ServerSession, type SessionOwner } from './server-session.ts';
import type { SessionPool } from './session-pool.ts';

/** Serves HTTP/2 and gRPC in front of the programs. */
export function http2Server(programs: ProgramSessions): Http2Server {
  return (connection, first, program) => {
    // It may have broken while it was found out what it speaks.
    if (connection.socket.destroyed) return;
    connection.handler = new Http2Handler(connection, first, program, programs);
  };
}

/** One connection: every stream of it is judged by itself, before the first byte of it goes on. */
class Http2Handler implements ProtocolHandler, SessionOwner {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly #connection: InboundConnection;
  readonly #program: ToProgram;
  readonly #session: ServerSession;
  readonly #programs: ProgramSessions;
  /** Where a connection to the program begins with who calls, it is this caller's alone. */
  #own: SessionPool | undefined;
  /** Who calls, for the program. */
  readonly #added: readonly string[];

  constructor(
    connection: InboundConnection,
    first: Buffer | undefined,
    program: ToProgram,
    programs: ProgramSessions,
  ) {
    this.clock = connection.context.clock;
    this.timeouts = connection.context.timeouts;
    this.#connection = connection;
    this.#program = program;
    this.#programs = programs;
    const caller = callerText(connection.caller, connection.route);
    this.#added = caller === undefined ? [] : ['x-forwarded-client-cert', caller];
    this.#session = new ServerSession(connection.socket, first, this);
    connection.socket.once('close', () => this.#own?.close());
  }

  onRequest(stream: ServerHttp2Stream, head: Http2Head, hasBody: boolean): Exchange {
    const connection = this.#connection;
    head.sourceAddress = connection.sourceAddress;
    const access = new Access(connection, head.actionAt(connection.route.port), head);
    const exchange = new Exchange(stream, head, access);
    access.exchange = exchange;
    if (access.judgement.allowed) this.#send(exchange, head, hasBody);
    else exchange.refuse(403);
    return exchange;
  }

  /** gRPC is spoken over HTTP/2; what else came over it goes on in HTTP/1.1, which every program speaks. */
  #send(exchange: Exchange, head: Http2Head, hasBody: boolean): void {
    const fields = [...this.#added, ...head.fields];
    if (head.isGrpc || this.#connection.route.programSpeaks === 'h2') {
      sendOverHttp2(exchange, this.#sessions(), { scheme: 'http', fields, hasBody });
    } else sendOverHttp1(exchange, this.#program.pool, fields, hasBody);
  }

  #sessions(): SessionPool {
    const { preamble } = this.#program;
    const { forward } = this.#connection.route;
    if (preamble === undefined) return this.#programs.at(forward);
    this.#own ??= this.#programs.own(forward, preamble);
    return this.#own;
  }

  fault(_where: 'request', reason: string): void {
    this.#connection.context.counters.badRequests++;
    this.#connection.log('bad-request', reason);
  }

  drain(): void {
    this.#session.drain();
  }

  held(): readonly HeldAccess[] {
    const held: HeldAccess[] = [];
    // An exchange of this handler was made with an access of it.
    for (const exchange of this.#session.open()) held.push(exchange.owner as Access);
    return held;
  }
}

/** One request of one caller: what it does, and how it was judged. */
class Access implements ExchangeOwner, HeldAccess {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly action: Action;
  readonly attributes: Http2Head;
  readonly judgement: Judgement;
  exchange: Exchange | undefined;
  readonly #connection: InboundConnection;

  constructor(connection: InboundConnection, action: Action, head: Http2Head) {
    this.clock = connection.context.clock;
    this.timeouts = connection.context.timeouts;
    this.#connection = connection;
    this.action = action;
    this.attributes = head;
    this.judgement = connection.judge(action, head);
    if (!this.judgement.allowed) connection.record(action, this.judgement, 'denied');
  }

  ended(outcome: Outcome): void {
    this.#connection.record(this.action, this.judgement, outcome);
  }

  fault(where: HttpFault, reason: string): void {
    const { counters } = this.#connection.context;
    if (where === 'request') counters.badRequests++;
    else if (where === 'response') counters.badAnswers++;
    this.#connection.log(HTTP_FAULT_EVENTS[where], reason);
  }

  cut(): void {
    this.exchange?.cut();
  }

  isOver(): boolean {
    return this.exchange?.isOver !== false;
  }
}
