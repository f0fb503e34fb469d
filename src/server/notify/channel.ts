import { z } from 'zod';
import { isInterlockError } from '../../access/index.ts';
import type { Change, Json } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import type { ChannelConfig } from './config.ts';
import type { Lane } from './lane.ts';
import { type Message, messageJson, newMessage, withNotice } from './message.ts';
import type { Notice } from './notice.ts';
import type { Send } from './post.ts';
import { render } from './render.ts';
import { failureOf, type Failure, giveUpAt, retryMs, Tokens } from './retry.ts';

/** Messages that wait for one channel; the oldest make room. */
const MAX_WAITING = 200;
/** How long notices of a type are gathered into one message, milliseconds. */
const GATHER_MS = 10_000;
/** These are sent at once, also to a receiver that was away a moment ago. */
const AT_ONCE: ReadonlySet<Notice['type']> = new Set(['release', 'arm', 'fallback', 'test']);
/** A wait that is longer than any that is ever set was set by another clock. */
const LONGEST_WAIT_MS = 2 * 86_400_000;
const LOOK_MS = 60_000;

const schema = z.strictObject({
  sent: z.int(),
  dropped: z.int(),
  gaveUp: z.int(),
  failures: z.int(),
  notBefore: z.number(),
  lastSentAt: z.number().exactOptional(),
  failingSince: z.number().exactOptional(),
  fault: z.string().exactOptional(),
});
/** How a channel has fared. `dropped` and `gaveUp` count notices; `failures` attempts since the last that went well. */
export type ChannelState = z.output<typeof schema>;
const FRESH: ChannelState = { sent: 0, dropped: 0, gaveUp: 0, failures: 0, notBefore: 0 };

/** What became of notices or of an attempt. */
export type Outcome = 'sent' | 'failed' | 'dropped' | 'gave_up';

export interface ChannelOptions {
  readonly config: ChannelConfig;
  readonly lane: Lane;
  readonly timers: Timers;
  readonly origin: () => string | undefined;
  readonly onOutcome: (channel: string, outcome: Outcome, count: number) => void;
  readonly onFault: (error: unknown) => void;
  readonly send: Send;
}

/** Sends what waits for one receiver, one message after the other; no other channel waits for it. */
export class Channel {
  readonly #options: ChannelOptions;
  readonly #messages = new Map<string, Message>();
  /** Not in the store yet: not sent yet. */
  readonly #unkept = new Set<string>();
  readonly #tokens: Tokens;
  #state: ChannelState = FRESH;
  #sending: string | undefined;
  #cancel = () => {};
  #isStopped = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#tokens = new Tokens(options.timers);
  }

  /** Takes over what was kept. What cannot be read is a fault, and begins anew. */
  load(state: Json | undefined, messages: readonly Message[]): void {
    const parsed = schema.safeParse(state ?? FRESH);
    if (parsed.success) this.#state = parsed.data;
    else this.#options.onFault(parsed.error);
    for (const message of messages) this.#messages.set(message.id, message);
  }

  get state(): ChannelState {
    return this.#state;
  }

  get messages(): readonly Message[] {
    return [...this.#messages.values()];
  }

  /** Adds a notice to what waits, and gives the changes that keep it: nothing new is sent before {@link kept}. */
  add(notice: Notice): Change[] {
    const { config, timers } = this.#options;
    if (AT_ONCE.has(notice.type)) this.#state = { ...this.#state, notBefore: 0 };
    const known = [...this.#messages.values()].find(
      ({ id, type, attempts }) => type === notice.type && attempts === 0 && id !== this.#sending,
    );
    if (known !== undefined) return [this.#put(withNotice(known, notice))];
    const room = this.#messages.size >= MAX_WAITING ? this.#dropOldest() : [];
    const wait = AT_ONCE.has(notice.type) ? 0 : GATHER_MS;
    const message = newMessage(config.name, notice, timers.now() + wait);
    this.#unkept.add(message.id);
    return [...room, this.#put(message)];
  }

  /** What was added is in the store. */
  kept(): void {
    this.#unkept.clear();
    this.pump();
  }

  /** Sends what is due, and wakes when the next is. */
  pump(): void {
    if (this.#sending !== undefined || this.#isStopped) return;
    this.#cancel();
    const { timers, onFault } = this.#options;
    const [next] = this.messages
      .filter(({ id }) => !this.#unkept.has(id))
      .toSorted((a, b) => a.notBefore - b.notBefore);
    if (next === undefined) return;
    const now = timers.now();
    const due = Math.max(next.notBefore, this.#state.notBefore, this.#tokens.readyAt());
    if (due > now && due < now + LONGEST_WAIT_MS) {
      this.#cancel = timers.after(Math.min(due - now, LOOK_MS), () => this.pump());
      return;
    }
    this.#sending = next.id;
    this.#deliver(next)
      .catch(onFault)
      .finally(() => {
        this.#sending = undefined;
        this.pump();
      });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async #deliver(message: Message): Promise<void> {
    const { lane } = this.#options;
    const tried = { ...message, attempts: message.attempts + 1 };
    // Before it is sent: what may have arrived is not changed any more.
    if (!(await lane.write([this.#put(tried)]))) return;
    this.#tokens.take();
    const failure = await this.#send(tried);
    if (this.#isStopped) return;
    await lane.write(failure === undefined ? this.#sent(tried) : this.#failed(tried, failure));
  }

  async #send(message: Message): Promise<Failure | undefined> {
    const { config, timers, origin, send } = this.#options;
    try {
      const rendered = render(config, message, { now: timers.now(), origin: origin() });
      return failureOf(await send(config, rendered), config.url);
    } catch (error) {
      if (isInterlockError(error)) return { fault: error.message, isAway: true };
      this.#options.onFault(error);
      return { fault: 'a fault of the control plane', isAway: false };
    }
  }

  #sent(message: Message): Change[] {
    const { timers, onOutcome, config } = this.#options;
    const { fault: _fault, failingSince: _since, ...rest } = this.#state;
    const sent = rest.sent + message.count;
    this.#state = { ...rest, sent, failures: 0, notBefore: 0, lastSentAt: timers.now() };
    onOutcome(config.name, 'sent', message.count);
    return [this.#remove(message.id), this.#putState()];
  }

  #failed(message: Message, { fault, isAway, isGone, pauseMs = 0 }: Failure): Change[] {
    const { timers, onOutcome, config } = this.#options;
    const now = timers.now();
    const failures = this.#state.failures + 1;
    const wait = Math.max(pauseMs, retryMs(isAway ? failures : message.attempts, timers.random()));
    this.#state = {
      ...this.#state,
      failures,
      fault,
      failingSince: this.#state.failingSince ?? now,
      // One message that is refused holds up no other; a receiver that is away would refuse them all.
      notBefore: isAway ? now + wait : 0,
    };
    onOutcome(config.name, 'failed', 1);
    if (isGone !== true && now < giveUpAt(message)) {
      return [this.#put({ ...message, notBefore: now + wait }), this.#putState()];
    }
    this.#state = { ...this.#state, gaveUp: this.#state.gaveUp + message.count };
    onOutcome(config.name, 'gave_up', message.count);
    return [this.#remove(message.id), this.#putState()];
  }

  #dropOldest(): Change[] {
    const { onOutcome, config } = this.#options;
    const [oldest] = this.messages.filter(({ id }) => id !== this.#sending).toSorted((a, b) => a.at - b.at);
    if (oldest === undefined) return [];
    this.#state = { ...this.#state, dropped: this.#state.dropped + oldest.count };
    onOutcome(config.name, 'dropped', oldest.count);
    return [this.#remove(oldest.id), this.#putState()];
  }

  #put(message: Message): Change {
    this.#messages.set(message.id, message);
    return { change: 'put', kind: 'notification', name: nameOf(message), data: messageJson(message) };
  }

  #remove(id: string): Change {
    this.#messages.delete(id);
    this.#unkept.delete(id);
    return {
      change: 'remove',
      kind: 'notification',
      name: nameOf({ id, channel: this.#options.config.name }),
    };
  }

  #putState(): Change {
    return {
      change: 'put',
      kind: 'notification',
      name: stateNameOf(this.#options.config.name),
      data: this.#state,
    };
  }
}

/** Names of the documents of a channel. */
export function stateNameOf(channel: string): string {
  return `channel/${channel}`;
}

function nameOf({ channel, id }: Pick<Message, 'channel' | 'id'>): string {
  return `message/${channel}/${id}`;
}

/** The state of a channel as it is kept; of one that nothing is known of, and of what cannot be read, a fresh one. */
export function channelStateOf(data: Json | undefined): ChannelState {
  const parsed = schema.safeParse(data ?? FRESH);
  return parsed.success ? parsed.data : FRESH;
}
