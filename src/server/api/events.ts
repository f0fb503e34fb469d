import { randomBytes } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import type { Caller, EventType } from '../../api/index.ts';
import type { Timers } from '../timers.ts';
import { EventStream } from './event-stream.ts';

/** Events that a stream can be resumed from. */
const RING = 2000;
/** Streams at one time, and those of one caller. */
const MAX_STREAMS = 500;
const MAX_STREAMS_EACH = 20;
/** Different things of one type that are named one by one at a time; more are one event without a name. */
const MAX_NAMED = 50;
/** How long events of a type are gathered, milliseconds: who reads them reads everything anew after each. */
const GATHERED_MS: Readonly<Record<Exclude<EventType, 'reset'>, number>> = {
  rollout: 0,
  release: 0,
  proposal: 0,
  /** The estate is made anew twice a second at most. */
  access: 0,
  point: 100,
  flip: 100,
  audit: 100,
  replica: 100,
  identity: 1000,
};

/** One event as it is sent. */
export interface Sent {
  readonly seq: number;
  readonly text: string;
}

/** What changes, to any number of readers. A few hundred of the last events are kept for those that come back. */
export class Events {
  readonly #timers: Timers;
  /** Names this run of the control plane: an event of another one says nothing of what was missed since. */
  readonly #run: string;
  readonly #ring: Sent[] = [];
  readonly #streams = new Map<EventStream, string>();
  readonly #gathered = new Map<EventType, { readonly ids: Set<string>; readonly cancel: () => void }>();
  #seq = 0;
  #isClosed = false;

  constructor(timers: Timers) {
    this.#timers = timers;
    // Two control planes may start in one millisecond: a reader that moves from one to the other is told so.
    this.#run = timers.now().toString(36) + randomBytes(3).readUIntBE(0, 3).toString(36);
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Something has changed: `id` names it, "" where that is many things or nothing in particular. */
  publish(type: Exclude<EventType, 'reset'>, id: string): void {
    if (this.#isClosed) return;
    const ms = GATHERED_MS[type];
    if (ms === 0) return this.#send(type, id);
    const known = this.#gathered.get(type);
    if (known !== undefined) {
      known.ids.add(id);
      return;
    }
    const cancel = this.#timers.after(ms, () => this.#flush(type));
    this.#gathered.set(type, { ids: new Set([id]), cancel });
  }

  /**
   * A stream of what changes from now on; after the event that `Last-Event-ID` names, where that is still known, and with
   * `reset` first where it is not. Throws `unavailable` where there are too many streams.
   */
  answer(request: Request, caller: Caller | undefined): Response {
    if (request.method !== 'GET')
      throw new InterlockError('usage', 'events', 'a stream of events is asked for with GET');
    const who = caller?.who ?? '';
    const own = [...this.#streams.values()].filter((each) => each === who).length;
    if (this.#isClosed || this.#streams.size >= MAX_STREAMS || own >= MAX_STREAMS_EACH)
      throw new InterlockError('unavailable', 'events', 'too many streams of events are open: close some');
    const stream = new EventStream({
      first: this.#missed(request.headers.get('last-event-id')),
      timers: this.#timers,
      onEnd: () => this.#streams.delete(stream),
    });
    this.#streams.set(stream, who);
    for (const signal of [request.signal, caller?.ended]) stream.endWith(signal);
    return new Response(stream.body, {
      headers: {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        // Nothing follows on the connection: it ends with the stream.
        connection: 'close',
        // A reverse proxy that gathers answers would hold events back.
        'x-accel-buffering': 'no',
      },
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const { cancel } of this.#gathered.values()) cancel();
    this.#gathered.clear();
    for (const stream of this.#streams.keys()) stream.end();
  }

  #flush(type: Exclude<EventType, 'reset'>): void {
    const ids = this.#gathered.get(type)?.ids ?? new Set();
    this.#gathered.delete(type);
    if (ids.size > MAX_NAMED) this.#send(type, '');
    else for (const id of ids) this.#send(type, id);
  }

  #send(type: EventType, id: string): void {
    const sent = { seq: ++this.#seq, text: this.#text(type, id, this.#seq) };
    this.#ring.push(sent);
    if (this.#ring.length > RING) this.#ring.shift();
    for (const stream of this.#streams.keys()) stream.send(sent.text);
  }

  #text(type: EventType, id: string, seq: number): string {
    const data = JSON.stringify({ type, id, at: this.#timers.now() });
    return `id: ${this.#run}-${seq}\nevent: ${type}\ndata: ${data}\n\n`;
  }

  /** What a reader that comes back has missed, as text; "" for one that is here for the first time. */
  #missed(lastId: string | null): string {
    if (lastId === null || lastId === '') return '';
    const [, run, seq] = /^([0-9a-z]{1,16})-(\d{1,15})$/.exec(lastId) ?? [];
    const from = Number(seq);
    const [oldest] = this.#ring;
    const isKnown = run === this.#run && from <= this.#seq && from >= (oldest?.seq ?? this.#seq + 1) - 1;
    if (!isKnown) return this.#text('reset', '', this.#seq);
    return this.#ring
      .slice(this.#ring.length - (this.#seq - from))
      .map(({ text }) => text)
      .join('');
  }
}
