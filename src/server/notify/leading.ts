import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { isInterlockError } from '../../access/index.ts';
import type { Change, IdentityStore, StoredDocument } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { auditEnd } from './audit-end.ts';
import { Channel, type ChannelOptions, stateNameOf } from './channel.ts';
import type { NotifyConfig } from './config.ts';
import { concerns, type Known } from './filter.ts';
import { noticesOf } from './from-audit.ts';
import { Lane } from './lane.ts';
import { type Message, messageOf } from './message.ts';
import type { Notice } from './notice.ts';
import type { Standing } from './standing.ts';

/** Name of the document that says how far the audit log was told. */
const CURSOR = 'cursor';
/** And of the one that says what was told of what is so for a while. */
const TOLD = 'told';
/** Entries that are read at once, and how long it is gathered what a commit tells of, milliseconds. */
const PAGE = 500;
const SOON_MS = 100;
/** How often it is looked what is so for a while, and how long until what failed is tried again, milliseconds. */
const LOOK_MS = 60_000;
const AGAIN_MS = 5000;
/** Things that were told, by their keys; the oldest are forgotten. */
const MAX_TOLD = 5000;

const cursorSchema = z.strictObject({
  /** Up to here the audit log was told. */
  seq: z.int(),
  /** Who wrote this, and their how manieth: a write whose answer was lost is known by it. */
  by: z.string(),
  n: z.int(),
});
const toldSchema = z.strictObject({ keys: z.array(z.string()) });
type Cursor = z.output<typeof cursorSchema>;

export interface LeadingOptions
  extends Pick<ChannelOptions, 'timers' | 'origin' | 'onOutcome' | 'onFault' | 'send'> {
  readonly config: NotifyConfig;
  readonly store: Pick<IdentityStore, 'documents' | 'audit'>;
  readonly recorder: Recorder;
  readonly timers: Timers;
  readonly known: Known;
  /** What is so now and may have to be told: authorities that end, flips, exceptions. */
  readonly standing: (now: number) => readonly Standing[];
  /** Another control plane has taken this over. */
  readonly onLost: () => void;
}

/**
 * Tells people what happens, as the one control plane that does. The audit log says what has happened: what was told of it is
 * kept in one commit with the number of its last entry, so that after any crash and any change of the leader nothing is left out,
 * and nothing is put into two messages.
 */
export class Leading {
  readonly channels: ReadonlyMap<string, Channel>;
  readonly #options: LeadingOptions;
  readonly #lane: Lane;
  readonly #by = randomBytes(8).toString('hex');
  #cursor: Cursor;
  #version: number;
  /** As the store has it. */
  #savedSeq: number;
  #told: ReadonlySet<string>;
  #turn: Promise<unknown> = Promise.resolve();
  #isReading = false;
  #cancelRead = () => {};
  #cancelLook = () => {};
  #isStopped = false;
  #isFailing = false;

  private constructor(options: LeadingOptions, cursor: Cursor, version: number, told: ReadonlySet<string>) {
    this.#options = options;
    this.#cursor = cursor;
    this.#version = version;
    this.#savedSeq = cursor.seq;
    this.#told = told;
    const { config, timers, origin, onOutcome, onFault, send, recorder } = options;
    const lane = new Lane({ recorder, timers, onFault });
    this.#lane = lane;
    this.channels = new Map(
      config.channels.map((each) => [
        each.name,
        new Channel({ config: each, lane, timers, origin, onOutcome, onFault, send }),
      ]),
    );
  }

  /** Takes over what was kept. Throws what the store throws. */
  static async open(options: LeadingOptions): Promise<Leading> {
    const { store, recorder } = options;
    const documents = await recorder.within(store.documents('notification'));
    const kept = documents.find(({ name }) => name === CURSOR);
    const parsed = cursorSchema.safeParse(kept?.data);
    const told = toldSchema.safeParse(documents.find(({ name }) => name === TOLD)?.data);
    // Who is told for the first time is told what happens from now on.
    const cursor = parsed.success ? parsed.data : { seq: await auditEnd(store, recorder), by: '', n: 0 };
    const known = told.success
      ? told.data.keys
      : options.standing(options.timers.now()).flatMap(({ key, isUsual }) => (isUsual ? [key] : []));
    const leading = new Leading(options, cursor, kept?.version ?? 0, new Set(known));
    await leading.#load(documents);
    await leading.#keep(told.success ? [] : [putTold(leading.#told)]);
    for (const channel of leading.channels.values()) channel.pump();
    leading.look();
    return leading;
  }

  /** The audit log has grown. */
  read(): void {
    if (this.#isReading || this.#isStopped) return;
    this.#isReading = true;
    this.#cancelRead = this.#options.timers.after(SOON_MS, () => {
      this.#isReading = false;
      this.#inTurn(() => this.#readOn());
    });
  }

  /** Looks what is so now; again every minute. */
  look(): void {
    this.read();
    this.#inTurn(async () => {
      await this.#tellStanding();
      if (this.#cursor.seq > this.#savedSeq) await this.#keep([]);
    });
    this.#cancelLook();
    if (!this.#isStopped) this.#cancelLook = this.#options.timers.after(LOOK_MS, () => this.look());
  }

  /** Ends it; what is on its way is not waited for, and stays in the store. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRead();
    this.#cancelLook();
    for (const channel of this.channels.values()) channel.stop();
    this.#lane.stop();
    await this.#turn;
  }

  async #readOn(): Promise<void> {
    const { store, recorder } = this.#options;
    for (let isMore = true; isMore && !this.#isStopped; ) {
      const entries = await recorder.within(store.audit(this.#cursor.seq + 1, PAGE));
      isMore = entries.length === PAGE;
      const seq = entries.at(-1)?.seq;
      if (seq === undefined) return;
      const changes = this.#tell(entries.flatMap(noticesOf));
      this.#cursor = { ...this.#cursor, seq };
      // Where nobody is told anything, it need not be written at once how far that goes.
      if (changes.length > 0 || isMore) await this.#keep(changes);
    }
  }

  async #tellStanding(): Promise<void> {
    const { standing, timers } = this.#options;
    // As many as can be remembered: others would be told again and again.
    const now = standing(timers.now()).slice(0, MAX_TOLD);
    const fresh = now.filter(({ key }) => !this.#told.has(key));
    if (fresh.length === 0) return;
    const keys = new Set(now.map(({ key }) => key));
    // What is still so is not forgotten before what is over.
    const over = [...this.#told].filter((key) => !keys.has(key));
    this.#told = new Set([...over, ...keys].slice(-MAX_TOLD));
    await this.#keep([...this.#tell(fresh.map(({ notice }) => notice)), putTold(this.#told)]);
  }

  /** Puts notices into messages, and gives the changes that keep these: each document once, as it is in the end. */
  #tell(notices: readonly Notice[]): Change[] {
    const { config, known } = this.#options;
    const changes = new Map<string, Change>();
    for (const notice of notices)
      for (const channel of config.channels) {
        if (!concerns(channel, notice, known)) continue;
        // Of documents alone there are changes here.
        for (const change of this.channels.get(channel.name)?.add(notice) ?? [])
          if (change.change === 'put' || change.change === 'remove') changes.set(change.name, change);
      }
    return [...changes.values()];
  }

  async #keep(changes: readonly Change[]): Promise<void> {
    const data: Cursor = { ...this.#cursor, by: this.#by, n: this.#cursor.n + 1 };
    const put: Change = {
      change: 'put',
      kind: 'notification',
      name: CURSOR,
      data: { ...data },
      expect: this.#version,
    };
    try {
      if (!(await this.#lane.write([...changes, put]))) return;
    } catch (error) {
      if (!isInterlockError(error) || error.code !== 'conflict') throw error;
      if (!(await this.#isOwn(data))) return this.#lost(error);
      this.#lane.goOn();
    }
    this.#cursor = data;
    this.#savedSeq = data.seq;
    this.#version++;
    for (const channel of this.channels.values()) channel.kept();
  }

  /** A write that was given up for lost and then made all the same comes back as a conflict with itself. */
  async #isOwn({ by, n }: Cursor): Promise<boolean> {
    const { store, recorder } = this.#options;
    const [document] = await recorder.within(store.documents('notification', [CURSOR]));
    const parsed = cursorSchema.safeParse(document?.data);
    return parsed.success && parsed.data.by === by && parsed.data.n === n;
  }

  #lost(error: unknown): void {
    if (this.#isStopped) return;
    this.#options.onFault(error);
    this.#options.onLost();
  }

  async #load(documents: readonly StoredDocument[]): Promise<void> {
    const { onFault } = this.#options;
    const states = new Map(documents.map(({ name, data }) => [name, data]));
    const messages: Message[] = [];
    const gone: Change[] = [];
    for (const { name, data } of documents) {
      const [kind, channel = ''] = name.split('/');
      if (name === CURSOR || name === TOLD) continue;
      const remove: Change = { change: 'remove', kind: 'notification', name };
      if (!this.channels.has(channel)) gone.push(remove);
      else if (kind === 'message') {
        try {
          messages.push(messageOf(data));
        } catch (error) {
          onFault(error);
          gone.push(remove);
        }
      }
    }
    for (const [name, channel] of this.channels)
      channel.load(
        states.get(stateNameOf(name)),
        messages.filter((message) => message.channel === name),
      );
    // Of channels that the file does not name any more.
    if (gone.length > 0) await this.#lane.write(gone);
  }

  /** One step after the other; one that fails is tried again soon, and complained of once. */
  #inTurn(step: () => Promise<void>): void {
    const run = async () => {
      if (this.#isStopped) return;
      try {
        await step();
        this.#isFailing = false;
      } catch (error) {
        if (!this.#isFailing) this.#options.onFault(error);
        this.#isFailing = true;
        this.#options.timers.after(AGAIN_MS, () => this.look());
      }
    };
    this.#turn = this.#turn.then(run, run);
  }
}

function putTold(told: ReadonlySet<string>): Change {
  return { change: 'put', kind: 'notification', name: TOLD, data: { keys: [...told] } };
}
