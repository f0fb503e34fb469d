import type { PoolClient } from 'pg';
import { DatabaseFailure } from './failures.ts';
import type { Session } from './session.ts';

/** How often connections on which an answer is waited for are looked at, milliseconds. */
const LOOK_MS = 2000;
/** One that the server says it works for nobody on, so many looks after another, is cut off. */
const STRIKES = 2;

interface Lent {
  readonly client: PoolClient;
  readonly session: Session;
  /** Bytes that had come at the last look, where an answer was waited for then. */
  bytes: number | undefined;
  strikes: number;
}

/** Asks the server, on a new connection, for which of these process IDs it works. Throws where it cannot be asked. */
export type Busy = (pids: readonly number[]) => Promise<ReadonlySet<number>>;

/**
 * Finds connections that will never answer: a network that swallows what is sent tells nobody, and a statement may take
 * longer than anybody wants to wait to find out. Where no answer comes the server is asked on a new connection: if it cannot
 * be reached, or does not work on what was sent, the connection is ended here, and what waits on it fails like on any other
 * that is lost.
 */
export class SilenceWatch {
  readonly #busy: Busy;
  /** Connections that nobody has lent: as dead as the one that was found dead. */
  readonly #dropIdle: () => void;
  readonly #lent = new Set<Lent>();
  #timer: NodeJS.Timeout | undefined;
  #isAsking = false;

  constructor(busy: Busy, dropIdle: () => void) {
    this.#busy = busy;
    this.#dropIdle = dropIdle;
  }

  /** Watches a connection until the function that it gives back is called. */
  watch(client: PoolClient, session: Session): () => void {
    const lent: Lent = { client, session, bytes: undefined, strikes: 0 };
    this.#lent.add(lent);
    this.#timer ??= setInterval(() => void this.#look(), LOOK_MS).unref();
    return () => this.#lent.delete(lent);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#lent.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const silent = [...this.#lent].filter(isSilent);
    if (silent.length === 0 || this.#isAsking) return;
    this.#isAsking = true;
    try {
      const busy = await this.#busy(silent.flatMap(({ client }) => pidOf(client) ?? []));
      for (const lent of silent) {
        const pid = pidOf(lent.client);
        lent.strikes = pid !== undefined && busy.has(pid) ? 0 : lent.strikes + 1;
        if (lent.strikes >= STRIKES) this.#end(lent);
      }
    } catch (error) {
      // A server that refuses another connection is there.
      const isAway = error instanceof DatabaseFailure && error.kind === 'connection' && !isWord(error.state);
      if (isAway) for (const lent of silent) this.#end(lent);
    } finally {
      this.#isAsking = false;
    }
  }

  #end(lent: Lent): void {
    // It was given back, or has an answer by now.
    if (!this.#lent.has(lent) || lent.bytes !== bytesOf(lent.client)) return;
    lent.client.connection.stream.destroy();
    this.#dropIdle();
  }
}

/** Notes what has come; true where an answer is waited for and nothing has come since the last look. */
function isSilent(lent: Lent): boolean {
  const before = lent.bytes;
  lent.bytes = lent.session.isWaiting ? bytesOf(lent.client) : undefined;
  const silent = lent.bytes !== undefined && lent.bytes === before;
  if (!silent) lent.strikes = 0;
  return silent;
}

function bytesOf({ connection: { stream } }: PoolClient): number {
  return 'bytesRead' in stream && typeof stream.bytesRead === 'number' ? stream.bytesRead : 0;
}

/** The process that serves a connection; the driver knows it, and its types do not. */
function pidOf(client: PoolClient): number | undefined {
  return 'processID' in client && typeof client.processID === 'number' ? client.processID : undefined;
}

/** An SQLSTATE: the server has said something. */
const isWord = (state: string) => /^[0-9A-Z]{5}$/.test(state) && !state.startsWith('E');
