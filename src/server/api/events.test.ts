import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { type Caller, type EventType } from '../../api/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { Events } from './events.ts';
import { callerWith } from './testing.test-helper.ts';

interface Got {
  readonly id: string;
  readonly type: EventType;
  readonly name: string;
}

/** One reader: takes what is there, and knows when the stream ends. */
class Reader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly controller = new AbortController();
  comments = 0;

  constructor(events: Events, lastId?: string, caller: Caller = callerWith('viewer')) {
    const request = new Request('http://localhost/v1/events', {
      headers: lastId === undefined ? {} : { 'last-event-id': lastId },
      signal: this.controller.signal,
    });
    const body = events.answer(request, caller).body;
    if (body === null) throw new Error('a stream has a body');
    this.#reader = body.getReader();
  }

  /** The next chunk's events; undefined at the end. */
  async next(): Promise<Got[] | undefined> {
    const { done, value } = await this.#reader.read();
    if (done) return undefined;
    const found: Got[] = [];
    for (const block of new TextDecoder().decode(value).split('\n\n')) {
      const fields = new Map(
        block
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      if (block.startsWith(':')) this.comments++;
      const data = fields.get('data');
      if (data === undefined) continue;
      const { type, id: name } = JSON.parse(data) as { type: EventType; id: string };
      expect(fields.get('event')).toBe(type);
      found.push({ id: fields.get('id') ?? '', type, name });
    }
    return found;
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

function open(now = 1_000_000) {
  const timers = new ManualTimers(now);
  return { timers, events: new Events(timers) };
}

const plain = (got: Got[] | undefined) => got?.map(({ type, name }) => `${type} ${name}`);

describe('events', () => {
  test('reach everyone who listens; those of one kind are gathered, and many of them are one', async () => {
    const { events, timers } = open();
    const readers = [new Reader(events), new Reader(events)];
    for (const reader of readers) expect(await reader.next()).toEqual([]);
    events.publish('rollout', 'spiffe://example.org/a');
    for (const reader of readers)
      expect(plain(await reader.next())).toEqual(['rollout spiffe://example.org/a']);
    for (let i = 0; i < 3; i++) events.publish('point', 'p');
    events.publish('point', 'q');
    for (let i = 0; i < 1000; i++) events.publish('flip', `w${i}`);
    await timers.advance(100);
    const seen = [];
    for (let i = 0; i < 3; i++) seen.push(...(plain(await readers[0]?.next()) ?? []));
    expect(seen).toEqual(['point p', 'point q', 'flip ']);
  });

  test('are sent again to who comes back, from the one after the last one it had', async () => {
    const { events } = open();
    const reader = new Reader(events);
    await reader.next();
    const ids: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      events.publish('rollout', name);
      ids.push(...((await reader.next()) ?? []).map(({ id }) => id));
    }
    expect(plain(await new Reader(events, ids[0]).next())).toEqual(['rollout b', 'rollout c']);
    expect(plain(await new Reader(events, ids[2]).next())).toEqual([]);
  });

  test.each([
    ['of another run', () => `${(5).toString(36)}-1`],
    ['that was not sent yet', (last: string) => last.replace(/\d+$/, '99999')],
    ['that is none', () => 'x'],
    ['that fell out of what is kept', (last: string) => last.replace(/\d+$/, '3')],
  ])('after an event %s begin with a reset', async (_, idOf) => {
    const { events } = open();
    const reader = new Reader(events);
    await reader.next();
    let last = '';
    for (let i = 0; i < 2100; i++) {
      events.publish('release', '');
      last = (await reader.next())?.[0]?.id ?? '';
    }
    const back = await new Reader(events, idOf(last)).next();
    expect(plain(back)).toEqual(['reset ']);
    // With its ID the reader knows where it is from now on.
    expect(plain(await new Reader(events, back?.[0]?.id).next())).toEqual([]);
  });

  test('end for a reader that does not read; when it is back it is told what it missed', async () => {
    const { events } = open();
    const slow = new Reader(events);
    const long = 'x'.repeat(1000);
    for (let i = 0; i < 500; i++) events.publish('rollout', long);
    expect(events.streams).toBe(0);
    let last: string | undefined;
    let got = 0;
    for (let chunk = await slow.next(); chunk !== undefined; chunk = await slow.next()) {
      got += chunk.length;
      last = chunk.at(-1)?.id ?? last;
    }
    expect(got).toBeLessThan(500);
    const rest = await new Reader(events, last).next();
    expect(got + (rest?.length ?? 0)).toBe(500);
  });

  test('end with the session of their reader, when it leaves, and with the control plane', async () => {
    const { events } = open();
    const session = new AbortController();
    const gone = new AbortController();
    gone.abort();
    const signed = new Reader(events, undefined, { ...callerWith('viewer'), ended: session.signal });
    const late = new Reader(events, undefined, { ...callerWith('viewer'), ended: gone.signal });
    const leaving = new Reader(events);
    const cancelled = new Reader(events);
    const last = new Reader(events);
    expect(events.streams).toBe(4);
    for (const reader of [signed, late, leaving, last]) await reader.next();
    expect(await late.next()).toBeUndefined();
    session.abort();
    leaving.controller.abort();
    await cancelled.cancel();
    expect([await signed.next(), await leaving.next(), events.streams]).toEqual([undefined, undefined, 1]);
    events.close();
    expect([await last.next(), events.streams]).toEqual([undefined, 0]);
    expect(() => new Reader(events)).toThrow(/too many/);
  });

  test('come with a heartbeat, and to so many readers and no more, nor all to one', async () => {
    const { events, timers } = open();
    const reader = new Reader(events);
    await reader.next();
    await timers.advance(15_000);
    expect([await reader.next(), reader.comments]).toEqual([[], 1]);
    const own = Array.from({ length: 19 }, () => new Reader(events));
    expect(own).toHaveLength(19);
    expect(() => new Reader(events)).toThrow(/too many/);
    const others = Array.from({ length: 600 }, (_, i) => {
      try {
        return new Reader(events, undefined, { ...callerWith('viewer'), who: `user:${i}` });
      } catch (error) {
        return isInterlockError(error) ? error.code : error;
      }
    });
    expect(others.filter((each) => each === 'unavailable')).toHaveLength(120);
    events.close();
  });
});
