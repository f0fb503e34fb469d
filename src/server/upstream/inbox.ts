import type { FromServer } from '../../proto/index.ts';
import type { Pace } from '../pace.ts';
import type { Timers } from '../timers.ts';

type Message = FromServer['message'];

/** Kinds of messages that wait to be taken. */
const MAX_PENDING = 64;

export interface InboxOptions {
  readonly timers: Timers;
  readonly take: (message: Message) => Promise<void>;
  readonly onFailed: (error: unknown) => void;
  /** How fast they are taken; absent where it does not matter. Rules of others are only counted, and wait for nothing. */
  readonly pace?: Pace | undefined;
}

/** What the other side sent and is not taken yet: the newest of each kind, one after the other, as the kinds arrived. */
export class Inbox {
  readonly #options: InboxOptions;
  readonly #pending = new Map<string, Message>();
  #isTaking = false;
  #isStopped = false;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  put(message: Message): void {
    const kind = message.case === 'replace' ? `replace ${message.value.authority}` : message.case;
    if (kind === undefined || (!this.#pending.has(kind) && this.#pending.size >= MAX_PENDING)) return;
    this.#pending.set(kind, message);
    if (!this.#isTaking) void this.#takeAll();
  }

  /** Forgets what is not taken yet. */
  clear(): void {
    this.#pending.clear();
  }

  stop(): void {
    this.#isStopped = true;
    this.clear();
  }

  async #takeAll(): Promise<void> {
    const { timers, pace, take, onFailed } = this.#options;
    this.#isTaking = true;
    for (;;) {
      const [next] = this.#pending;
      if (next === undefined || this.#isStopped) break;
      const [kind] = next;
      const wait = (kind === 'rules' ? undefined : pace?.take()) ?? 0;
      if (wait > 0) await new Promise<void>((resolve) => timers.after(wait, resolve));
      // The newest of its kind by now.
      const message = this.#pending.get(kind);
      this.#pending.delete(kind);
      try {
        if (message !== undefined && !this.#isStopped) await take(message);
      } catch (error) {
        onFailed(error);
      }
    }
    this.#isTaking = false;
  }
}
