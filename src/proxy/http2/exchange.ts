import { type OutgoingHttpHeaders, sensitiveHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Outcome } from '../../access/index.ts';
import { Deadline } from '../deadline.ts';
import { announcedTrailers } from '../trailers.ts';
import { type FieldList, objectOf, trailersOf, valueOf } from './fields.ts';
import type { Http2Head } from './head.ts';
import { CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR } from './limits.ts';
import { localAnswer, NO_DATE, statusFields } from './local-answer.ts';
import { type ExchangeOwner, LONG_MS, type Onward } from './onward.ts';

/** Interim answers (1xx) to one request; more is a program that never answers. */
const MAX_INTERIM = 16;

/** The head is to come; the body goes through; our own answer, or the end of one, is on its way out. */
const AWAITED = 0;
const ANSWERING = 1;
const DONE = 2;

/** One request over HTTP/2 and its answer, from the side of the caller's stream. */
export class Exchange {
  readonly stream: ServerHttp2Stream;
  readonly head: Http2Head;
  readonly owner: ExchangeOwner;
  readonly #deadline: Deadline;
  readonly #startedAt: number;
  #onward: Onward | undefined;
  /** What is being waited for in place of a way on. */
  #giveUp: (() => void) | undefined;
  #state = AWAITED;
  #outcome: Outcome = 'error';
  #isTold = false;
  #interim = 0;
  #activeAt: number;
  /** How long without a byte it may be. */
  #patience: number;
  #requestTrailers: OutgoingHttpHeaders | undefined;
  #trailers: OutgoingHttpHeaders = {};
  /** Trailers, or an empty frame in their place, are to end the answer; then the rest of the request is not wanted. */
  #awaitsTrailers = false;
  #stopsRequest = false;

  constructor(stream: ServerHttp2Stream, head: Http2Head, owner: ExchangeOwner) {
    this.stream = stream;
    this.head = head;
    this.owner = owner;
    const { clock, timeouts } = owner;
    this.#startedAt = clock.now();
    this.#activeAt = this.#startedAt;
    // A gRPC stream may be silent for long, as a tunnel: its connection is asked by PING.
    this.#patience = head.isGrpc ? timeouts.tunnel : timeouts.exchange;
    this.#deadline = new Deadline(clock, () => this.#look());
    this.#deadline.set(Math.min(this.#patience, LONG_MS));
    stream.once('close', () => this.#closed());
    stream.on('error', () => {});
    stream.on('drain', () => this.#onDrain());
    stream.on('wantTrailers', () => this.#sendTrailers());
    // They may come before there is a way on.
    if (head.hasTrailers) stream.on('trailers', (_, __, list) => this.#onTrailers(list));
  }

  /** It has ended, but for what is still on its way out. */
  get isOver(): boolean {
    return this.#state === DONE;
  }

  /** What to call where the caller leaves before there is a way on. */
  waitFor(giveUp: () => void): void {
    if (!this.isOver) this.#giveUp = giveUp;
  }

  /** There is a way on: the body may flow. */
  begin(onward: Onward, hasBody: boolean): void {
    this.#giveUp = undefined;
    this.#onward = onward;
    const { stream } = this;
    if (!hasBody) return;
    stream.on('data', this.#onData);
    // A body without a byte may have ended while there was no way on.
    if (stream.readableEnded) this.#onEnd();
    else stream.once('end', this.#onEnd);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#activeAt = this.owner.clock.now();
    if (this.#onward?.write(chunk) === false) this.stream.pause();
  };

  readonly #onEnd = (): void => {
    // Bytes of a stream that was reset end as well; they are not the whole body.
    if (this.stream.aborted) return;
    this.#onward?.end(this.#requestTrailers);
  };

  #onDrain(): void {
    this.#activeAt = this.owner.clock.now();
    this.#onward?.resume();
  }

  #onTrailers(list: FieldList): void {
    const trailers = trailersOf(list, announcedTrailers(this.head.headers));
    if (typeof trailers !== 'string') {
      this.#requestTrailers = trailers;
      return;
    }
    if (this.#state === DONE) return;
    this.owner.fault('request', `${trailers} as a trailer`);
    this.#break(PROTOCOL_ERROR);
  }

  /** The other end takes more of the body. */
  onwardDrained(): void {
    if (this.#state !== DONE) this.stream.resume();
  }

  /** An interim answer. */
  onInterim(status: number, fields: FieldList): void {
    if (this.#state !== AWAITED || !this.#isOpen) return;
    if (++this.#interim > MAX_INTERIM) {
      this.fail(`more than ${MAX_INTERIM} interim answers`);
    } else if (status !== 101) {
      try {
        this.stream.additionalHeaders({ ':status': status, ...objectOf(fields) });
      } catch {
        // A field that no receiver would take: the answer itself is still to come.
      }
    }
  }

  /** The head of the answer; `isLast` where nothing follows it. */
  onAnswer(status: number, fields: string[], isLast: boolean, sensitive?: readonly string[]): void {
    if (this.#state !== AWAITED || !this.#isOpen) return;
    if (status < 200 || status > 599) return this.fail(`an answer with status ${status}`);
    this.#touch();
    this.#state = ANSWERING;
    this.#outcome = status >= 400 ? 'error' : 'ok';
    this.#stopsRequest = this.head.isGrpc;
    if (isLast) this.#judgeStatus(valueOf(fields, 'grpc-status'));
    const list = [':status', String(status), ...fields];
    if (sensitive !== undefined && sensitive.length > 0)
      Object.assign(list, { [sensitiveHeaders]: sensitive });
    const endStream = isLast || this.head.method === 'HEAD';
    this.#awaitsTrailers = !endStream;
    try {
      this.stream.respond(list, { endStream, waitForTrailers: !endStream, ...NO_DATE });
    } catch (error) {
      // A field that no receiver would take.
      this.#state = AWAITED;
      this.#awaitsTrailers = false;
      return this.fail(String(error));
    }
    if (!isLast) return;
    this.#finish();
    if (this.head.isGrpc) this.#stopRequest();
  }

  onBody(chunk: Buffer): void {
    if (this.#state !== ANSWERING || !this.#isOpen) return;
    this.#activeAt = this.owner.clock.now();
    if (!this.stream.write(chunk)) this.#onward?.pause();
  }

  /** The answer is through. */
  onEnd(list: FieldList | undefined): void {
    if (this.#state !== ANSWERING) return;
    const trailers = list === undefined ? {} : trailersOf(list);
    if (typeof trailers === 'string') return this.fail(`${trailers} as a trailer`);
    this.#trailers = trailers;
    this.#judgeStatus(list === undefined ? undefined : valueOf(list, 'grpc-status'));
    this.#finish();
    this.stream.end();
  }

  /** Whoever answers has given the stream up: the caller is told with the same code. */
  onReset(code: number): void {
    if (this.#state === DONE) return;
    this.#tell('error');
    this.#break(code);
  }

  /** Nobody could be reached. */
  unreachable(reason: string): void {
    if (this.#state === DONE) return;
    this.owner.fault('way', reason);
    this.#answer(503, 'failed');
  }

  /** The answer is none, or breaks off. */
  fail(reason: string): void {
    if (this.#state === DONE) return;
    this.owner.fault('response', reason);
    this.#end(502, INTERNAL_ERROR);
  }

  /** Refuses it with one of our own answers, and lets the owner know of nothing. */
  refuse(status: number): void {
    this.#isTold = true;
    this.#answer(status, 'denied');
  }

  /**
   * Ends what policy no longer allows. gRPC callers are told so, and do not come again at once, as they would for
   * UNAVAILABLE; the rest of any other answer is cut off.
   */
  cut(): void {
    if (this.#state === DONE) return;
    this.#end(403, CANCEL);
  }

  /** As one's own answer where there was none yet; as trailers where gRPC has a word for it; else by a reset. */
  #end(status: number, code: number): void {
    const before = this.#state;
    const isGrpc = this.head.isGrpc && this.#isOpen;
    this.#tell(before === ANSWERING && status === 403 ? this.#outcome : 'error');
    if (before === AWAITED) return this.#answer(status, 'error');
    if (!isGrpc) return this.#break(code);
    this.#drop(CANCEL);
    this.#trailers = statusFields(status);
    this.#finish();
    this.stream.end();
    this.#patience = this.owner.timeouts.linger;
    this.#deadline.set(this.#patience);
  }

  get #isOpen(): boolean {
    return !this.stream.destroyed && !this.stream.closed;
  }

  #judgeStatus(grpcStatus: string | undefined): void {
    if (this.head.isGrpc) this.#outcome = grpcStatus === '0' ? 'ok' : 'error';
  }

  #answer(status: number, outcome: Outcome): void {
    this.#tell(outcome);
    this.#drop(CANCEL);
    if (this.#isOpen) localAnswer(this.stream, this.head, status);
    this.#finish();
    this.#patience = this.owner.timeouts.linger;
    this.#deadline.set(this.#patience);
    this.#stopRequest();
  }

  #break(code: number): void {
    this.#tell('error');
    this.#drop(code);
    this.#state = DONE;
    this.stream.close(code);
  }

  /** What remains is to be sent. */
  #finish(): void {
    this.#touch();
    this.#tell(this.#outcome);
    this.#state = DONE;
  }

  #drop(code: number): void {
    this.#giveUp?.();
    this.#giveUp = undefined;
    this.#onward?.abandon(code);
    this.#onward = undefined;
  }

  #tell(outcome: Outcome): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.owner.ended(outcome);
  }

  #touch(): void {
    this.#activeAt = this.owner.clock.now();
  }

  #sendTrailers(): void {
    if (!this.#isOpen) return;
    this.stream.sendTrailers(this.#trailers);
    this.#awaitsTrailers = false;
    if (this.#stopsRequest) this.#stopRequest();
  }

  /** Whoever answered takes no more of the request; the answer is through. */
  onwardGone(): void {
    this.#onward = undefined;
    if (this.#state === DONE && this.#isOpen) this.#stopRequest();
  }

  /** The rest of a request whose answer is through is not wanted (RFC 9113 section 8.1). */
  #stopRequest(): void {
    const { stream } = this;
    if (stream.readableEnded || stream.endAfterHeaders) return;
    if (this.#awaitsTrailers) {
      this.#stopsRequest = true;
      return;
    }
    stream.off('data', this.#onData).off('end', this.#onEnd);
    const close = () => setImmediate(() => stream.close(NO_ERROR));
    if (stream.writableFinished) close();
    else stream.once('finish', close);
  }

  #closed(): void {
    this.#deadline.close();
    if (this.#state === DONE) {
      this.#drop(CANCEL);
      return;
    }
    // The caller has left. It may always end a stream whose answer had begun well.
    this.#tell(this.#onward === undefined ? 'failed' : this.#outcome);
    this.#state = DONE;
    this.#drop(this.stream.rstCode === NO_ERROR ? CANCEL : this.stream.rstCode);
  }

  #look(): void {
    const now = this.owner.clock.now();
    const idle = now - this.#activeAt;
    if (idle >= this.#patience) return this.#late();
    const age = now - this.#startedAt;
    if (this.#state === ANSWERING && age >= LONG_MS) this.#tell(this.#outcome);
    const left = this.#patience - idle;
    this.#deadline.set(this.#isTold ? left : Math.min(left, age < LONG_MS ? LONG_MS - age : LONG_MS));
  }

  #late(): void {
    if (this.#state === DONE) {
      this.stream.close(CANCEL);
      return;
    }
    this.owner.fault('response', `nothing for ${this.#patience} ms`);
    this.#end(504, CANCEL);
  }
}
