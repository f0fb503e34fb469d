import type { Socket } from 'node:net';
import type { Outcome } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import { Deadline } from '../deadline.ts';
import type { Timeouts } from '../settings.ts';
import { breakOff } from '../tcp/break-off.ts';
import { announcedTrailers, NO_TRAILERS } from '../trailers.ts';
import { answer } from './answers.ts';
import { assemble } from './assemble.ts';
import { Body } from './body.ts';
import { Exchange } from './exchange.ts';
import type { Gate } from './gate.ts';
import { HeadReader, MORE, TOO_LONG } from './head-reader.ts';
import type { Pool } from './pool.ts';
import { RequestHead } from './request-head.ts';

/** What a connection is served with. */
export interface Http1Options {
  readonly gate: Gate;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
}

/** Waiting for a head; a request is on its way; bytes go through unread; refused, and waiting for the sender to stop. */
const HEAD = 0;
const EXCHANGE = 1;
const TUNNEL = 2;
const LINGER = 3;
const CLOSED = 4;

/** How much a refused sender may go on to send before it is cut off. */
const MAX_LINGER_BYTES = 256 * 1024;

/**
 * The client's end of HTTP/1.1: reads requests one at a time, has each admitted, and lets it through. Requests that
 * follow before the answer wait, and after one chunk of them so does the client.
 */
export class Downstream {
  readonly head = new RequestHead();
  readonly options: Http1Options;
  readonly socket: Socket;
  readonly #reader = new HeadReader();
  readonly #body = new Body();
  readonly #deadline: Deadline;
  readonly #exchange: Exchange;
  #state = HEAD;
  /** Bytes that came after the request that is on its way. */
  #pending: Buffer | undefined;
  #isPaused = false;
  #isEnded = false;
  #isDraining = false;
  #lingered = 0;

  constructor(socket: Socket, options: Http1Options, first?: Buffer) {
    this.socket = socket;
    this.options = options;
    this.#deadline = new Deadline(options.clock, () => this.#late());
    this.#exchange = new Exchange(this);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('finish', () => this.#onFinish());
    socket.on('end', () => this.#onEnd());
    socket.on('error', () => {});
    socket.on('close', () => this.#onClose());
    this.#deadline.set(options.timeouts.idle);
    if (first !== undefined && first.length > 0) this.#onData(first);
  }

  /** The request on its way has its whole body sent. */
  get requestDone(): boolean {
    return this.#body.done;
  }

  get mustClose(): boolean {
    return this.#isDraining || this.#isEnded || this.head.fields.close || this.head.minor === 0;
  }

  /** Nothing of a request has come since the last answer. */
  get isIdle(): boolean {
    return this.#state === HEAD && this.#reader.held === 0;
  }

  get isTunnel(): boolean {
    return this.#state === TUNNEL;
  }

  /** Answers wait to be read. */
  get #isFull(): boolean {
    return this.socket.writableNeedDrain;
  }

  /** Ends the connection after the request that is on its way, or now where there is none. */
  drain(): void {
    this.#isDraining = true;
    if (this.isIdle) this.#finish();
  }

  destroy(): void {
    breakOff(this.socket);
  }

  #onData(chunk: Buffer): void {
    switch (this.#state) {
      case HEAD:
        this.#readHeads(chunk);
        break;
      case EXCHANGE:
        if (this.#body.done) this.#keep(chunk);
        else this.#forwardBody(chunk);
        break;
      case TUNNEL:
        this.#exchange.sendBody(chunk);
        this.touch();
        break;
      case LINGER:
        this.#lingered += chunk.length;
        if (this.#lingered > MAX_LINGER_BYTES) this.socket.destroy();
        break;
      default:
    }
  }

  /** Reads heads as long as one is whole and was answered on the spot. */
  #readHeads(first: Buffer): void {
    let chunk: Buffer | undefined = first;
    // Whoever does not read answers is not answered any more: they would pile up here.
    while (chunk !== undefined && this.#state === HEAD && !this.#isFull) {
      const isNew = this.#reader.held === 0;
      const end = this.#reader.push(chunk);
      if (end < 0) {
        if (end !== MORE) {
          const reason = end === TOO_LONG ? 'a head that is too long' : 'a line that does not end with CR LF';
          this.#reject(end === TOO_LONG ? 431 : 400, reason);
        } else if (isNew) this.#deadline.set(this.options.timeouts.head);
        return;
      }
      const { bytes } = this.#reader;
      this.#reader.reset();
      const fault = this.head.read(bytes, end);
      if (fault !== undefined) return this.#reject(fault.status, fault.reason);
      chunk = this.#begin(bytes.length > end ? bytes.subarray(end) : undefined);
    }
    if (chunk !== undefined) this.#keep(chunk);
  }

  /** Admits the request that was read. Gives the bytes after it where it was refused and the next one may be read. */
  #begin(rest: Buffer | undefined): Buffer | undefined {
    const { head, options } = this;
    const { length, announcesTrailers } = head.fields;
    this.#body.start(length, announcesTrailers ? announcedTrailers(head.headers) : NO_TRAILERS);
    if (!options.gate.admit(head)) return this.#refuse(rest);
    this.#state = EXCHANGE;
    this.#deadline.set(options.timeouts.exchange);
    let body: Buffer | undefined;
    if (rest !== undefined) {
      const end = this.#body.push(rest, 0);
      if (this.#body.fault !== undefined) {
        options.gate.ended('failed');
        this.#reject(400, this.#body.fault);
        return undefined;
      }
      if (end > 0) body = rest.subarray(0, end);
      if (end < rest.length) this.#keep(rest.subarray(end));
    }
    this.#exchange.begin(body);
    return undefined;
  }

  #refuse(rest: Buffer | undefined): Buffer | undefined {
    const { head } = this;
    // The body of a refused request is not read: whoever waits for "100 Continue" does not even send it.
    const closes = this.mustClose || !this.#body.done;
    this.socket.write(answer(403, { isHead: head.method === 'HEAD', closes }));
    if (closes) this.#linger();
    else {
      this.#deadline.set(this.options.timeouts.idle);
      this.updateReading();
    }
    return closes ? undefined : rest;
  }

  #forwardBody(chunk: Buffer): void {
    const end = this.#body.push(chunk, 0);
    if (this.#body.fault !== undefined) {
      // What went before was sound; the program sees a request that breaks off.
      this.options.gate.fault('request', this.#body.fault);
      this.#exchange.abandon('error', 400);
      return;
    }
    this.#exchange.sendBody(end === chunk.length ? chunk : chunk.subarray(0, end));
    if (end < chunk.length) this.#keep(chunk.subarray(end));
    this.touch();
  }

  #keep(chunk: Buffer): void {
    this.#pending = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.updateReading();
  }

  /** Reads from the client, or not: while what it sent waits, or cannot be passed on. */
  updateReading(): void {
    const waits = this.#pending !== undefined || this.#exchange.blocksDownstream;
    const pause = this.#state !== LINGER && (waits || (this.#state === HEAD && this.#isFull));
    if (pause === this.#isPaused) return;
    this.#isPaused = pause;
    if (pause) this.socket.pause();
    else this.socket.resume();
  }

  /** Something went through: the connection is not idle. */
  touch(): void {
    const { timeouts } = this.options;
    this.#deadline.set(this.#state === TUNNEL ? timeouts.tunnel : timeouts.exchange);
  }

  /** The answer is complete. */
  exchangeDone(outcome: Outcome, closes: boolean): void {
    this.options.gate.ended(outcome);
    if (this.#state === CLOSED) return;
    if (closes || !this.#body.done) return this.#linger();
    this.#state = HEAD;
    this.#deadline.set(this.options.timeouts.idle);
    this.#next();
  }

  /** Goes on with what has come already. */
  #next(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.#readHeads(pending);
    else if (this.#isEnded) return this.#finish();
    this.updateReading();
  }

  #onDrain(): void {
    this.#exchange.onDownstreamDrain();
    if (this.#state === HEAD) this.#next();
  }

  /** There is no answer and there will be none: `status` is answered where nothing was yet, else the connection breaks. */
  exchangeFailed(outcome: Outcome, status: number): void {
    this.options.gate.ended(outcome);
    if (this.#state === CLOSED) return;
    if (status === 0) return this.destroy();
    this.socket.write(answer(status, { isHead: this.head.method === 'HEAD', closes: true }));
    this.#linger();
  }

  /** Both ends have agreed on another protocol: bytes go through from now on. */
  tunnel(): void {
    this.options.gate.ended('ok');
    this.#state = TUNNEL;
    this.touch();
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.#exchange.sendBody(pending);
    if (this.#isEnded) this.#exchange.endBody();
    this.updateReading();
  }

  /** The request's head as it goes on, with the part of the body that is there. */
  forwarded(body: Buffer | undefined, added: Buffer): Buffer {
    const { head } = this;
    const { bytes, end, fields, targetEnd, rewritten } = head;
    const line = rewritten
      ? Buffer.from(`${head.method} ${head.forwardedTarget()} HTTP/1.${head.minor}\r\n`, 'latin1')
      : undefined;
    const fieldsStart = targetEnd + 11;
    return assemble({ bytes, start: 0, fieldsStart, end, fields, line, added, body });
  }

  #reject(status: number, reason: string): void {
    this.options.gate.fault('request', reason);
    this.socket.write(answer(status, { isHead: false, closes: true }));
    this.#linger();
  }

  /** Ends our side, and reads on for a moment: closed at once, the answer would be lost with a reset. */
  #linger(): void {
    this.#state = LINGER;
    this.#pending = undefined;
    this.socket.end();
    this.#await();
    this.updateReading();
    if (this.#isEnded) this.#finish();
  }

  #finish(): void {
    this.#state = LINGER;
    if (!this.socket.writableEnded) this.socket.end();
    if (this.#isEnded) this.socket.destroySoon();
    this.#await();
  }

  /** Waits for the sender to stop, once it has all of the answer. */
  #await(): void {
    const { linger, exchange } = this.options.timeouts;
    this.#deadline.set(this.socket.writableFinished ? linger : exchange);
  }

  #onFinish(): void {
    if (this.#state === LINGER) this.#await();
  }

  #onEnd(): void {
    this.#isEnded = true;
    if (this.#state === HEAD || this.#state === LINGER) this.#finish();
    else if (this.#state === TUNNEL) this.#exchange.endBody();
    else if (!this.#body.done) this.#exchange.abandon('error', 0);
  }

  #onClose(): void {
    const before = this.#state;
    this.#state = CLOSED;
    this.#deadline.close();
    if (before === EXCHANGE || before === TUNNEL) this.#exchange.downstreamGone(before === TUNNEL);
  }

  #late(): void {
    switch (this.#state) {
      case HEAD:
        if (this.#reader.held > 0) this.#reject(408, 'a head that does not end in time');
        else this.#finish();
        break;
      case EXCHANGE:
        this.#exchange.abandon('error', 504);
        break;
      default:
        this.socket.destroy();
    }
  }
}
