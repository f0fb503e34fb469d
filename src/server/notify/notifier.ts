import { hash, randomBytes } from 'node:crypto';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import { flipKey, type IdentityStore, type SeenFlip } from '../../store/index.ts';
import { tooMany } from '../api/retry-after.ts';
import { Attempts } from '../attempts.ts';
import type { Timers } from '../timers.ts';
import { hostOf } from './address.ts';
import { channelStateOf, type ChannelState, stateNameOf } from './channel.ts';
import type { ChannelConfig } from './config.ts';
import { Leading, type LeadingOptions } from './leading.ts';
import { type Message, messageOf, newMessage } from './message.ts';
import { post, type Send } from './post.ts';
import { render, summaryOf } from './render.ts';
import { failureOf } from './retry.ts';
import { flipNotice, type Standing } from './standing.ts';

/** How long until it is tried again to take over what another one has lost, milliseconds. */
const AGAIN_MS = 5000;
/** Flips that are told one by one: the newest; and how old they may be, milliseconds. */
const MOST_FLIPS = 2000;
const FLIPS_MS = 86_400_000;
/** Messages that are listed. */
const MOST_LISTED = 200;
/** Tests in a minute of one channel, and of all, whatever comes of them. */
const MOST_TESTS = { each: 5, all: 20 } as const;

export interface NotifierOptions extends Omit<LeadingOptions, 'onLost' | 'store' | 'send'> {
  /** Over the network where absent. */
  readonly send?: Send | undefined;
  readonly store: Pick<IdentityStore, 'documents' | 'audit' | 'watch' | 'lead'>;
}

/** What is known of the channels: `notifications.list`. */
type Listed = Answer<'notifications.list'>;
type Tested = Answer<'notifications.test'>;

/** Notifications of one control plane: of several on one database, the one that leads sends them. */
export class Notifier {
  readonly #options: NotifierOptions & { readonly send: Send };
  #leading: Leading | undefined;
  #isLeader = false;
  #isClosed = false;
  #unwatch = () => {};
  #unlead = async () => {};
  #turn: Promise<unknown> = Promise.resolve();
  #cancel = () => {};
  readonly #tests: Attempts;

  private constructor(options: NotifierOptions & { readonly send: Send }) {
    this.#options = options;
    this.#tests = new Attempts(options.timers, MOST_TESTS);
  }

  /** Throws what the store throws. */
  static async open(options: NotifierOptions): Promise<Notifier> {
    const { send = sendBy(options.timers) } = options;
    const notifier = new Notifier({ ...options, send });
    const { store } = options;
    notifier.#unwatch = await store.watch(({ missed, touched }) => {
      if (missed === true || touched.some(({ kind }) => kind === 'audit')) notifier.#leading?.read();
    });
    notifier.#unlead = await store.lead((isLeader) => {
      notifier.#isLeader = isLeader;
      notifier.#inTurn(() => notifier.#follow());
    });
    return notifier;
  }

  /** Every channel with how it has fared, and what waits: from the store, so that each control plane says the same. */
  async list(): Promise<Listed> {
    const { config, store, recorder } = this.#options;
    const documents = await recorder.within(store.documents('notification'));
    const data = new Map(documents.map((each) => [each.name, each.data]));
    const messages = documents
      .flatMap(({ name, data }) => (name.startsWith('message/') ? (readable(data) ?? []) : []))
      .toSorted((a, b) => a.at - b.at);
    return {
      channels: config.channels.map((channel) => {
        const waiting = messages.filter((message) => message.channel === channel.name);
        return channelShown(channel, channelStateOf(data.get(stateNameOf(channel.name))), waiting);
      }),
      messages: messages.slice(0, MOST_LISTED).map((message) => {
        const { id, channel, type, count, at, attempts, notBefore } = message;
        return { id, channel, type, count, at, attempts, notBefore, summary: summaryOf(message) };
      }),
    };
  }

  /** Notices that wait for each channel here, where this control plane sends them. */
  waiting(): ReadonlyMap<string, number> {
    const all = this.#leading?.channels ?? [];
    return new Map(
      [...all].map(([name, { messages }]) => [name, messages.reduce((sum, { count }) => sum + count, 0)]),
    );
  }

  /** Sends a test to a channel now, once, and says what came of it. Throws `not_found`; `limit` with the time to wait. */
  async test(who: string, name: string): Promise<Tested> {
    const { config, timers, origin, send, recorder } = this.#options;
    const channel = config.channels.find((each) => each.name === name);
    if (channel === undefined) throw new InterlockError('not_found', name, `there is no channel "${name}"`);
    this.#mayTest(name);
    await recorder.record([], recorder.entry(who, 'notification.test', name, {}));
    return sendTest(channel, { who, timers, origin: origin(), send });
  }

  /** A test goes out at once, past everything that keeps a channel from being flooded. */
  #mayTest(name: string): void {
    const seconds = this.#tests.wait(name);
    if (seconds > 0)
      throw tooMany('notifications', `the channel "${name}" was tested often just now`, seconds);
    this.#tests.failed(name);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    this.#unwatch();
    await this.#unlead();
    this.#inTurn(() => this.#follow());
    await this.#turn;
  }

  /** Begins or ends to lead, as it was told last. */
  async #follow(): Promise<void> {
    const { timers, onFault } = this.#options;
    const leads = this.#isLeader && !this.#isClosed;
    if (leads === (this.#leading !== undefined)) return;
    const before = this.#leading;
    this.#leading = undefined;
    await before?.stop();
    if (!leads) return;
    const again = () => {
      this.#cancel();
      this.#cancel = timers.after(AGAIN_MS, () => this.#inTurn(() => this.#follow()));
    };
    try {
      this.#leading = await Leading.open({
        ...this.#options,
        onLost: () => this.#inTurn(() => this.#drop(again)),
      });
    } catch (error) {
      onFault(error);
      again();
    }
  }

  async #drop(again: () => void): Promise<void> {
    const before = this.#leading;
    this.#leading = undefined;
    await before?.stop();
    again();
  }

  #inTurn(step: () => Promise<void>): void {
    this.#turn = this.#turn.then(step, step).catch(this.#options.onFault);
  }
}

function sendBy(timers: Timers): Send {
  return (target, rendered) => post(target, rendered, { timers });
}

/** Sends a test to a channel, whoever leads. */
export async function sendTest(
  channel: ChannelConfig,
  parts: Pick<LeadingOptions, 'timers'> & {
    readonly send?: Send | undefined;
  } & {
    readonly who: string;
    readonly origin: string | undefined;
  },
): Promise<Tested> {
  const { timers, who, origin, send = sendBy(timers) } = parts;
  const now = timers.now();
  const notice = {
    type: 'test' as const,
    at: now,
    subject: channel.name,
    summary: `${who} tries whether the channel ${channel.name} works: it does`,
    details: { who },
    scope: { kind: 'all' as const },
  };
  const message = { ...newMessage(channel.name, notice, now), id: `msg_${randomBytes(16).toString('hex')}` };
  try {
    const posted = await send(channel, render(channel, message, { now, origin }));
    const failure = failureOf(posted, channel.url);
    return { channel: channel.name, isDelivered: failure === undefined, fault: failure?.fault };
  } catch (error) {
    if (!isInterlockError(error)) throw error;
    return { channel: channel.name, isDelivered: false, fault: error.message };
  }
}

/** New flips of the last day, each by what it is. */
export function flipsStanding(
  evidence: { flips(filter: { since?: number }): readonly SeenFlip[] },
  now: number,
): Standing[] {
  return (
    evidence
      .flips({ since: now - FLIPS_MS })
      // By when they came to be: what goes on coming in changes nothing of which these are.
      .toSorted((a, b) => b.firstSeen - a.firstSeen)
      .slice(0, MOST_FLIPS)
      .map((flip) => ({
        isUsual: true,
        key: `flip ${hash('sha256', flipKey(flip)).slice(0, 24)}`,
        notice: flipNotice(flip, now),
      }))
  );
}

function channelShown(
  channel: ChannelConfig,
  state: ChannelState,
  waiting: readonly Message[],
): Listed['channels'][number] {
  const { name, kind, on, only, url } = channel;
  return {
    name,
    kind,
    // The rest of an address may be a secret.
    host: hostOf(url),
    on: [...on],
    only: { ...only },
    waiting: waiting.reduce((sum, { count }) => sum + count, 0),
    ...state,
  };
}

function readable(data: unknown): Message | undefined {
  try {
    return messageOf(data as Parameters<typeof messageOf>[0]);
  } catch {
    return undefined;
  }
}
