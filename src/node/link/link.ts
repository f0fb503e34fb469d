import { InterlockError, isInterlockError, type ErrorCode, ERROR_CODES } from '../../access/index.ts';
import type {
  BundleState,
  FromAgent,
  FromServer,
  Refused,
  RevocationState,
  RuleState,
} from '../../proto/index.ts';
import type { Timers } from '../timers.ts';

/** One stream to the control plane, once it is open. */
export interface Stream {
  send(message: FromAgent['message']): void;
  /** Ends it; `onEnd` is called all the same. */
  close(): void;
}

export interface StreamHandlers {
  readonly onMessage: (message: FromServer['message']) => void;
  /** Called once. */
  readonly onEnd: (error: Error | undefined) => void;
}

/** Opens a stream, or throws. Which server, and with which SVID, is the transport's matter. */
export type OpenStream = (handlers: StreamHandlers) => Promise<Stream>;

export interface LinkOptions {
  readonly timers: Timers;
  readonly open: OpenStream;
  readonly version: string;
  readonly held: () => { rulesVersion: bigint; serials: readonly string[] };
  readonly onRules: (state: RuleState) => void;
  readonly onBundles: (state: BundleState) => void;
  readonly onRevocations: (state: RevocationState) => void;
  readonly onReplace: (authority: string, overMs: number) => void;
  /** With the error that ended the last connection, or kept it from being made. */
  readonly onOnline: (online: boolean, error: Error | undefined) => void;
}

/** First and longest wait before the next try; each is spread over its whole length, so that agents do not return at once. */
const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 30_000;
/** A connection that lived as long was a good one: the next wait is a short one. */
const GOOD_MS = 10_000;
/** How long an answer may take. */
const ANSWER_MS = 30_000;

type Signed = Extract<FromServer['message'], { case: 'signedX509' | 'signedJwt' }>;
type Question = Extract<FromAgent['message'], { case: 'signX509' | 'signJwt' | 'renew' }>;

/** Versions of the states that the agent and its workloads have. */
export interface Confirmed {
  readonly bundlesVersion: bigint;
  readonly rulesVersion: bigint;
  readonly revocationsVersion: bigint;
}

interface Pending {
  readonly resolve: (answer: Signed) => void;
  readonly reject: (error: InterlockError) => void;
  readonly cancel: () => void;
}

/** The agent's lasting connection to the control plane: kept open, opened again when it ends. */
export class Link {
  readonly #options: LinkOptions;
  readonly #pending = new Map<bigint, Pending>();
  #stream: Stream | undefined;
  #nextRequest = 1n;
  #failures = 0;
  #openedAt = 0;
  #cancelWait: (() => void) | undefined;
  #closed = false;
  #confirmed: Confirmed = { bundlesVersion: 0n, rulesVersion: 0n, revocationsVersion: 0n };

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** Whether a stream is open now. */
  get online(): boolean {
    return this.#stream !== undefined;
  }

  /** Starts to connect. */
  start(): void {
    void this.#connect();
  }

  /** Sends a question and gives its answer. Rejects with the server's refusal, or `unavailable`. */
  ask(question: (request: bigint) => Question): Promise<Signed> {
    const stream = this.#stream;
    if (stream === undefined) return Promise.reject(unavailable('it is not connected'));
    const request = this.#nextRequest++;
    return new Promise((resolve, reject) => {
      const cancel = this.#options.timers.after(ANSWER_MS, () => {
        this.#pending.delete(request);
        reject(unavailable(`it did not answer within ${ANSWER_MS / 1000} s`));
      });
      this.#pending.set(request, { resolve, reject, cancel });
      stream.send(question(request));
    });
  }

  /** Tells the server which states the agent and its workloads have. */
  confirm(versions: Partial<Confirmed>): void {
    this.#confirmed = { ...this.#confirmed, ...versions };
    this.#stream?.send({
      case: 'confirm',
      value: { $typeName: 'interlock.agent.v1.Confirm', ...this.#confirmed },
    });
  }

  /** Tells the server which SVIDs are served to nobody any more. */
  dropped(serials: readonly string[]): void {
    const bytes = serials.map((serial) => Buffer.from(serial, 'hex'));
    this.#stream?.send({
      case: 'dropped',
      value: { $typeName: 'interlock.agent.v1.Dropped', serials: bytes },
    });
  }

  /** Connects anew, with what the transport now has: a new SVID of the agent. */
  reconnect(): void {
    this.#failures = 0;
    this.#stream?.close();
  }

  /** Ends the connection for good. */
  close(): void {
    this.#closed = true;
    this.#cancelWait?.();
    this.#stream?.close();
  }

  async #connect(): Promise<void> {
    let ended: { error: Error | undefined } | undefined;
    try {
      const stream = await this.#options.open({
        onMessage: (message) => this.#take(message),
        onEnd: (error) => {
          ended ??= { error };
          if (this.#stream !== undefined) this.#lost(error);
        },
      });
      if (this.#closed) return stream.close();
      this.#stream = stream;
      this.#openedAt = this.#options.timers.now();
      if (ended !== undefined) return this.#lost(ended.error);
    } catch (error) {
      return this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
    const { rulesVersion, serials } = this.#options.held();
    this.#stream.send({
      case: 'hello',
      value: {
        $typeName: 'interlock.agent.v1.Hello',
        version: this.#options.version,
        rulesVersion,
        held: serials.map((serial) => Buffer.from(serial, 'hex')),
        takesTargets: true,
      },
    });
    this.#options.onOnline(true, undefined);
  }

  #lost(error: Error | undefined): void {
    const was = this.#stream;
    this.#stream = undefined;
    for (const pending of this.#pending.values()) {
      pending.cancel();
      pending.reject(unavailable('the connection ended before it answered'));
    }
    this.#pending.clear();
    if (this.#closed) return;
    if (was !== undefined && this.#options.timers.now() - this.#openedAt >= GOOD_MS) this.#failures = 0;
    this.#options.onOnline(false, error);
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    this.#wait(longest * this.#options.timers.random());
  }

  #wait(ms: number): void {
    this.#cancelWait?.();
    // Who heard that it is lost may have closed it.
    if (this.#closed) return;
    this.#cancelWait = this.#options.timers.after(ms, () => void this.#connect());
  }

  #take(message: FromServer['message']): void {
    const options = this.#options;
    switch (message.case) {
      case 'rules':
        return options.onRules(message.value);
      case 'bundles':
        return options.onBundles(message.value);
      case 'revocations':
        return options.onRevocations(message.value);
      case 'replace':
        return options.onReplace(message.value.authority, message.value.overMs);
      case 'signedX509':
      case 'signedJwt':
        return this.#answered(message.value.request)?.resolve(message);
      case 'refused':
        return this.#answered(message.value.request)?.reject(refusal(message.value));
      case 'drain':
        return this.#drain(message.value.withinMs);
      case undefined:
        // A message of a newer server.
        return undefined;
    }
  }

  #drain(withinMs: number): void {
    const { timers } = this.#options;
    const stream = this.#stream;
    timers.after(withinMs * timers.random(), () => {
      // One that was opened meanwhile is to another server, or to one that is back.
      if (this.#stream === stream) this.reconnect();
    });
  }

  #answered(request: bigint): Pending | undefined {
    const pending = this.#pending.get(request);
    this.#pending.delete(request);
    pending?.cancel();
    return pending;
  }
}

function unavailable(why: string): InterlockError {
  return new InterlockError('unavailable', 'control plane', `the control plane cannot be asked: ${why}`);
}

function refusal({ code, message, retryAfterMs }: Refused): InterlockError {
  const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'unavailable';
  // What may pass by itself is asked again.
  return new InterlockError(retryAfterMs > 0 ? 'unavailable' : known, 'control plane', message);
}

/** True for a failure after which asking again later helps. */
export function isPassing(error: unknown): boolean {
  return !isInterlockError(error) || error.code === 'unavailable';
}
