import type { Outcome } from '../../access/index.ts';
import { assemble } from './assemble.ts';
import { Body, UNTIL_CLOSE } from './body.ts';
import type { Downstream } from './downstream.ts';
import { CHUNKED, UNSTATED } from './fields.ts';
import { MORE } from './head-reader.ts';
import { mayRepeat } from './request-head.ts';
import type { Upstream, UpstreamUser } from './upstream.ts';

const CLOSE_LINE = Buffer.from('connection: close\r\n');
const WEBSOCKET_LINES = Buffer.from('connection: upgrade\r\nupgrade: websocket\r\n');
/** Interim answers (1xx) to one request; more is a program that never answers. */
const MAX_INTERIM = 16;
/** The head is to come; the body goes through; bytes go through both ways. */
const AWAITED = 0;
const ANSWERING = 1;
const TUNNEL = 2;

/** One request on its way and its answer. One for each client connection, used again and again. */
export class Exchange implements UpstreamUser {
  readonly #down: Downstream;
  readonly #body = new Body();
  #upstream: Upstream | undefined;
  #giveUp: (() => void) | undefined;
  #held: Buffer | undefined;
  #state = AWAITED;
  #interim = 0;
  #outcome: Outcome = 'ok';
  #closes = false;
  /** Program and proxy may not agree on where the request ended: nothing follows on the connection. */
  #isInDoubt = false;
  #isFull = false;
  #isUpstreamPaused = false;

  constructor(down: Downstream) {
    this.#down = down;
  }

  /** The client has to wait: nobody takes its bytes yet, or not so fast. */
  get blocksDownstream(): boolean {
    return this.#isFull || this.#giveUp !== undefined;
  }

  /** Sends the request that the client's end has read, with the part of its body that is there. */
  begin(body: Buffer | undefined): void {
    this.#state = AWAITED;
    this.#interim = 0;
    this.#isFull = false;
    const upstream = this.#down.options.pool.take();
    if (upstream === undefined) this.#connect(body);
    else this.#send(upstream, body);
  }

  #connect(body: Buffer | undefined): void {
    this.#held = body;
    let isDone = false;
    const giveUp = this.#down.options.pool.connect((error, upstream) => {
      isDone = true;
      this.#giveUp = undefined;
      const held = this.#held;
      this.#held = undefined;
      if (upstream === undefined) {
        this.#down.options.gate.fault('way', error?.message ?? 'no connection');
        this.#down.exchangeFailed('failed', 503);
      } else this.#send(upstream, held);
      this.#down.updateReading();
    });
    if (!isDone) {
      this.#giveUp = giveUp;
      this.#down.updateReading();
    }
  }

  #send(upstream: Upstream, body: Buffer | undefined): void {
    this.#upstream = upstream;
    upstream.user = this;
    const { gate } = this.#down.options;
    const added = this.#wantsWebSocket ? Buffer.concat([gate.added, WEBSOCKET_LINES]) : gate.added;
    this.#write(this.#down.forwarded(body, added));
  }

  get #wantsWebSocket(): boolean {
    const { head } = this.#down;
    const { upgrades, upgrade, length } = head.fields;
    // With a body programs differ in whether it belongs to the request or to what follows.
    const isEmpty = length === UNSTATED || length === 0;
    return upgrades && upgrade === 'websocket' && head.method === 'GET' && head.minor === 1 && isEmpty;
  }

  #write(bytes: Buffer): void {
    if (this.#upstream === undefined || this.#upstream.socket.write(bytes)) return;
    this.#isFull = true;
    this.#down.updateReading();
  }

  /** More of the request's body, or of a tunnel. */
  sendBody(chunk: Buffer): void {
    if (chunk.length === 0) return;
    // The client is paused until there is a connection; a chunk may still be on its way out of the socket's buffer.
    if (this.#giveUp !== undefined)
      this.#held = Buffer.concat([...(this.#held === undefined ? [] : [this.#held]), chunk]);
    else this.#write(chunk);
  }

  /** The client sends no more into the tunnel. */
  endBody(): void {
    this.#upstream?.socket.end();
  }

  onDownstreamDrain(): void {
    if (!this.#isUpstreamPaused) return;
    this.#isUpstreamPaused = false;
    this.#upstream?.socket.resume();
  }

  onUpstreamDrain(): void {
    this.#isFull = false;
    this.#down.updateReading();
  }

  onUpstreamData(chunk: Buffer): void {
    if (this.#state === AWAITED) this.#readAnswer(chunk);
    else if (this.#state === TUNNEL) this.#toClient(chunk);
    else this.#answerBody(chunk);
    this.#down.touch();
  }

  #toClient(bytes: Buffer): void {
    const upstream = this.#upstream;
    if (this.#down.socket.write(bytes) || upstream === undefined) return;
    this.#isUpstreamPaused = true;
    upstream.socket.pause();
  }

  #readAnswer(first: Buffer): void {
    let chunk: Buffer | undefined = first;
    while (chunk !== undefined) {
      const upstream = this.#upstream;
      if (upstream === undefined) return;
      const end = upstream.reader.push(chunk);
      if (end === MORE) return;
      if (end < 0) return this.#broken('a head that is too long or whose lines do not end with CR LF');
      const { bytes } = upstream.reader;
      upstream.reader.reset();
      const fault = upstream.head.read(bytes, 0, end);
      if (fault !== undefined) return this.#broken(fault);
      const rest = bytes.length > end ? bytes.subarray(end) : undefined;
      if (upstream.head.status >= 200) return this.#answer(upstream, bytes, rest);
      if (upstream.head.status === 101) return this.#switch(upstream, bytes, rest);
      if (++this.#interim > MAX_INTERIM) return this.#broken(`more than ${MAX_INTERIM} interim answers`);
      // An HTTP/1.0 client does not know them (RFC 9110 section 15.2).
      if (this.#down.head.minor === 1) this.#toClient(headOf(upstream, bytes, undefined, false, undefined));
      chunk = rest;
    }
  }

  /** The last answer's head, and what is there of its body. */
  #answer(upstream: Upstream, bytes: Buffer, rest: Buffer | undefined): void {
    const { status, fields, minor } = upstream.head;
    const isEmpty = this.#down.head.method === 'HEAD' || status === 204 || status === 304;
    if (fields.length === CHUNKED && (minor === 0 || this.#down.head.minor === 0)) {
      return this.#broken('chunks with HTTP/1.0');
    }
    this.#body.start(isEmpty ? 0 : fields.length === UNSTATED ? UNTIL_CLOSE : fields.length);
    this.#outcome = status >= 400 ? 'error' : 'ok';
    this.#closes = this.#down.mustClose || this.#body.endsWithConnection;
    this.#state = ANSWERING;
    // A program that answers before it has the body, or without having asked for it, may never read it as one.
    this.#isInDoubt =
      !this.#down.requestDone || (this.#down.head.fields.expectsContinue && this.#interim === 0);
    const end = rest === undefined ? 0 : this.#body.push(rest, 0);
    const body = rest === undefined || end === 0 ? undefined : rest.subarray(0, end);
    // An answer that comes before the request is through ends the connection as well: the rest of it is not wanted.
    if (this.#body.done && !this.#down.requestDone) this.#closes = true;
    this.#toClient(headOf(upstream, bytes, body, this.#closes, this.#closes ? CLOSE_LINE : undefined));
    if (this.#body.fault !== undefined) return this.#broken(this.#body.fault);
    if (this.#body.done) this.#complete(rest !== undefined && end < rest.length);
  }

  #answerBody(chunk: Buffer): void {
    const end = this.#body.push(chunk, 0);
    if (end > 0) this.#toClient(end === chunk.length ? chunk : chunk.subarray(0, end));
    if (this.#body.fault !== undefined) this.#broken(this.#body.fault);
    else if (this.#body.done) this.#complete(end < chunk.length);
  }

  #switch(upstream: Upstream, bytes: Buffer, rest: Buffer | undefined): void {
    const { fields } = upstream.head;
    if (!this.#wantsWebSocket || !this.#down.requestDone || fields.upgrade !== 'websocket') {
      return this.#broken('a protocol that was not asked for');
    }
    this.#state = TUNNEL;
    this.#toClient(headOf(upstream, bytes, rest, true, WEBSOCKET_LINES));
    this.#down.tunnel();
  }

  /** The answer is through. A program that goes on to speak has lost the thread: its connection is not used again. */
  #complete(hasMore: boolean): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const { fields, minor } = upstream.head;
    const stays = minor === 1 ? !fields.close : fields.keepAlive;
    const isInStep = !hasMore && !this.#isInDoubt && !this.#body.endsWithConnection;
    if (stays && isInStep) this.#return(upstream);
    else upstream.destroy();
    this.#upstream = undefined;
    this.#isFull = false;
    this.#down.exchangeDone(this.#outcome, this.#closes);
  }

  #return(upstream: Upstream): void {
    if (this.#isUpstreamPaused) upstream.socket.resume();
    this.#isUpstreamPaused = false;
    const { keepAliveSeconds } = upstream.head.fields;
    // A second less than the program says: it may count from earlier.
    const keepMs = keepAliveSeconds > 0 ? (keepAliveSeconds - 1) * 1000 : Number.POSITIVE_INFINITY;
    this.#down.options.pool.give(upstream, keepMs);
  }

  onUpstreamEnd(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    if (this.#state === TUNNEL) {
      this.#down.socket.end();
      return;
    }
    if (this.#state === ANSWERING && this.#body.endsWithConnection) {
      upstream.destroy();
      this.#upstream = undefined;
      this.#down.exchangeDone(this.#outcome, true);
      return;
    }
    this.#lost(upstream, 'the connection ended before the answer did');
  }

  onUpstreamClose(error: Error | undefined): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    if (this.#state === TUNNEL) {
      this.#upstream = undefined;
      this.#down.socket.destroySoon();
    } else this.#lost(upstream, error?.message ?? 'the connection closed before the answer was through');
  }

  /** The program's end is gone in the middle. A connection that had rested may have been closed before it was asked. */
  #lost(upstream: Upstream, reason: string): void {
    const unseen =
      this.#state === AWAITED && upstream.uses > 0 && this.#interim === 0 && upstream.reader.held === 0;
    if (unseen && mayRepeat(this.#down.head)) {
      upstream.destroy();
      this.#upstream = undefined;
      this.#isFull = false;
      this.#connect(undefined);
      return;
    }
    this.#broken(reason);
  }

  /** The answer is none. */
  #broken(reason: string): void {
    this.#down.options.gate.fault('response', reason);
    this.abandon('error', 502);
  }

  /** Gives the exchange up; `status` is answered where the client has had no answer yet, 0 for none. */
  abandon(outcome: Outcome, status: number): void {
    const isAnswering = this.#state !== AWAITED;
    this.#drop();
    this.#down.exchangeFailed(outcome, isAnswering ? 0 : status);
  }

  /** The client is gone: nobody wants the answer. */
  downstreamGone(isTunnel: boolean): void {
    const wasSent = this.#upstream !== undefined;
    this.#drop();
    if (!isTunnel) this.#down.options.gate.ended(wasSent ? 'error' : 'failed');
  }

  #drop(): void {
    this.#giveUp?.();
    this.#giveUp = undefined;
    this.#held = undefined;
    this.#isFull = false;
    this.#isUpstreamPaused = false;
    this.#upstream?.abandon();
    this.#upstream = undefined;
  }
}

function headOf(
  upstream: Upstream,
  bytes: Buffer,
  body: Buffer | undefined,
  dropsKeepAlive: boolean,
  added: Buffer | undefined,
): Buffer {
  const { fieldsStart, end, fields } = upstream.head;
  return assemble({ bytes, start: 0, fieldsStart, end, fields, added, body, dropsKeepAlive });
}
