import { type ClientHttp2Session, connect, type Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { InterlockError } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import { Deadline } from '../deadline.ts';
import type { Dial } from '../http1/pool.ts';
import { CLIENT_OPTIONS, CONNECTION_WINDOW } from './limits.ts';

/** How sessions are made and kept. Times in milliseconds. */
export interface SessionPoolOptions {
  /** The socket must read as Node's own do. */
  readonly dial: Dial;
  readonly clock: Clock;
  /** How long one without streams is kept. */
  readonly idleMs: number;
  /** Within this a PING is answered, or the connection is dead. */
  readonly answerMs: number;
}

/** One stream's place on a session. */
export interface Lease {
  readonly session: ClientHttp2Session;
  /** The stream is over. To be called once. */
  release(): void;
}

type Done = (error: InterlockError | undefined, lease?: Lease) => void;

/** Most sessions to one place; beyond it streams wait within the sessions that there are. */
const MAX_SESSIONS = 16;
/** A session that rested longer is asked by PING, together with the next request, whether it still lives. */
const DOUBT_MS = 15_000;
/**
 * How often a busy session is asked. gRPC servers take more than one PING in five minutes for an attack where nothing
 * else is sent (gRPC proposal A8).
 */
const PING_MS = 305_000;

/** HTTP/2 connections to one place under one identity, shared by streams. */
export class SessionPool {
  readonly #options: SessionPoolOptions;
  readonly #kept = new Set<Kept>();
  readonly #waiting = new Set<Done>();
  #giveUp: (() => void) | undefined;
  #closed = false;

  constructor(options: SessionPoolOptions) {
    this.#options = options;
  }

  /** Open sessions. */
  get size(): number {
    return this.#kept.size;
  }

  /** Calls back once with a place; the function it gives back gives up, and then nobody is told anything. */
  take(done: Done): () => void {
    const kept = this.#free();
    if (kept !== undefined) {
      done(undefined, kept.lease());
      return () => {};
    }
    if (this.#closed) {
      done(new InterlockError('unavailable', 'upstream', 'the connection pool is closed'));
      return () => {};
    }
    this.#waiting.add(done);
    this.#giveUp ??= this.#dial();
    return () => this.#waiting.delete(done);
  }

  /** Takes no more; sessions close when their streams are over. */
  close(): void {
    this.#closed = true;
    for (const kept of this.#kept) kept.session.close();
    if (this.#waiting.size > 0) return;
    this.#giveUp?.();
    this.#giveUp = undefined;
  }

  #free(): Kept | undefined {
    let least: Kept | undefined;
    for (const kept of this.#kept) {
      if (!kept.isOpen) continue;
      if (kept.hasRoom) return kept;
      if (least === undefined || kept.busy < least.busy) least = kept;
    }
    return this.#kept.size < MAX_SESSIONS ? undefined : least;
  }

  #dial(): (() => void) | undefined {
    let isDone = false;
    const giveUp = this.#options.dial((error, socket) => {
      isDone = true;
      this.#giveUp = undefined;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      const kept = socket === undefined ? undefined : this.#keep(socket);
      for (const done of waiting) {
        if (kept === undefined) done(error ?? new InterlockError('unavailable', 'upstream', 'no connection'));
        else done(undefined, kept.lease());
      }
      if (this.#closed) kept?.session.close();
    });
    return isDone ? undefined : giveUp;
  }

  #keep(socket: Socket): Kept {
    const kept = new Kept(socket, this.#options, () => this.#kept.delete(kept));
    this.#kept.add(kept);
    return kept;
  }
}

/** One session and what is known of it. */
class Kept {
  readonly session: ClientHttp2Session;
  busy = 0;
  readonly #options: SessionPoolOptions;
  readonly #deadline: Deadline;
  #usedAt: number;

  constructor(socket: Socket, options: SessionPoolOptions, onClosed: () => void) {
    this.#options = options;
    const { clock } = options;
    this.#usedAt = clock.now();
    this.#deadline = new Deadline(clock, () => this.#look());
    // The name is never used: every request carries its own.
    this.session = connect('http://upstream', { ...CLIENT_OPTIONS, createConnection: () => socket });
    this.session.setLocalWindowSize(CONNECTION_WINDOW);
    // Streams are told what they need to know; what is broken closes.
    this.session.on('error', () => {});
    this.session.once('close', () => {
      this.#deadline.close();
      onClosed();
    });
    this.#deadline.set(options.idleMs);
  }

  /** It takes new streams: neither end has said that it is about to close. */
  get isOpen(): boolean {
    return !this.session.closed && !this.session.destroyed;
  }

  get hasRoom(): boolean {
    return this.busy < (this.session.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY);
  }

  lease(): Lease {
    const now = this.#options.clock.now();
    if (now - this.#usedAt > DOUBT_MS && this.busy === 0) this.#ping();
    this.#usedAt = now;
    if (this.busy++ === 0) this.#deadline.set(PING_MS);
    return { session: this.session, release: () => this.#release() };
  }

  #release(): void {
    this.#usedAt = this.#options.clock.now();
    if (--this.busy === 0) this.#deadline.set(this.#options.idleMs);
  }

  #look(): void {
    if (this.busy === 0) {
      this.session.close();
      return;
    }
    this.#ping();
    this.#deadline.set(PING_MS);
  }

  #ping(): void {
    ping(this.session, this.#options.clock, this.#options.answerMs);
  }
}

/** Asks the other end whether it lives, and breaks the session where it does not say so in time. */
export function ping(
  session: Http2Session,
  clock: Clock,
  answerMs: number,
  onAnswer: () => void = () => {},
): void {
  if (session.closed || session.destroyed) return;
  const end = () => {
    callOff();
    session.off('close', end);
    onAnswer();
  };
  const callOff = clock.after(answerMs, () => {
    session.off('close', end);
    session.destroy(new InterlockError('unavailable', 'http2', `no answer to a PING within ${answerMs} ms`));
  });
  session.once('close', end);
  session.ping(end);
}
