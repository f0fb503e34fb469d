import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import {
  type FromProxy,
  type ProxyState,
  ProxyStateSchema,
  ReportSchema,
  type ToProxy,
} from '../../proto/proxy/index.ts';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import { Spool } from '../evidence/spool.ts';
import type { LocalRelease } from './policies.ts';
import { ControlLink } from './control-link.ts';
import type { StreamHandlers } from './connect.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

/** A control plane's end of one stream. */
class FakeStream {
  readonly sent: FromProxy['message'][] = [];
  readonly handlers: StreamHandlers;
  isFull = false;
  closed = false;

  constructor(handlers: StreamHandlers) {
    this.handlers = handlers;
  }

  send({ message }: FromProxy): boolean {
    this.sent.push(message);
    return !this.isFull;
  }

  close(): void {
    this.closed = true;
    this.fail();
  }

  fail(message = 'gone'): void {
    this.handlers.onEnd(new InterlockError('unavailable', 'control plane', message));
  }

  say(message: ToProxy['message']): void {
    this.handlers.onMessage(message);
  }

  state(version: number): void {
    this.say({ case: 'state', value: create(ProxyStateSchema, { version: BigInt(version) }) });
  }

  take(sequence: number, code = ''): void {
    this.say({
      case: 'taken',
      value: { $typeName: 'interlock.proxy.v1.ReportTaken', code, message: 'no', sequence: BigInt(sequence) },
    });
  }

  /** Numbers of the reports that were sent, counted from the first one there was. */
  get reports(): number[] {
    return this.sent.flatMap((message) =>
      message.case === 'report' ? Number(message.value.sequence) - START + 1 : [],
    );
  }
}

const START = Date.UTC(2026, 10, 21);

async function open() {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-link-'));
  dirs.push(dir);
  const clock = new ManualTimers(START);
  const spool = await Spool.open({ dir, now: () => START, onFault: () => {} });
  const streams: FakeStream[] = [];
  const states: ProxyState[] = [];
  const online: boolean[] = [];
  const released: LocalRelease[] = [];
  const refused: string[] = [];
  let onState = (state: ProxyState) => void states.push(state);
  const link = new ControlLink({
    clock,
    open(handlers) {
      const stream = new FakeStream(handlers);
      streams.push(stream);
      return stream;
    },
    version: 't',
    instance: 'a',
    workloads: ['spiffe://example.org/cart'],
    stateVersion: () => Number(states.at(-1)?.version ?? 7n),
    onState: (state) => {
      onState(state);
      return 'applied';
    },
    spool,
    localReleases: () => released,
    onRefused: ({ message }) => refused.push(message),
    onOnline: (is) => online.push(is),
  });
  const stream = (i = streams.length - 1) => {
    const found = streams[i];
    if (found === undefined) throw new Error('no such stream');
    return found;
  };
  const add = (count: number) => {
    for (let i = 0; i < count; i++) spool.add({ report: create(ReportSchema, {}), calls: 1 });
  };
  /** Lets the spool read its files. */
  const read = async () => {
    await spool.settled();
    // One file after the other: each round reads all of them, and so takes longer than the link for one.
    for (let round = 0; round < 8; round++) {
      await spool.after(0, 100);
      for (let i = 0; i < 5; i++) await settle();
    }
  };
  return {
    link,
    clock,
    spool,
    streams,
    stream,
    states,
    online,
    released,
    refused,
    add,
    read,
    failWith: (error: Error) =>
      (onState = () => {
        throw error;
      }),
  };
}

test('sends a report that is refused for good no more, counts its calls as lost, and goes on with the next one', async () => {
  const { link, stream, spool, add, read, refused } = await open();
  add(2);
  await read();
  link.start();
  stream().state(1);
  await read();
  expect(stream().reports).toEqual([1, 2]);
  stream().take(START, 'forbidden');
  expect([spool.size, spool.takeLost(), refused.length]).toEqual([1, 1, 1]);
  stream().take(START + 1);
  expect([spool.size, spool.takeLost(), refused.length]).toEqual([0, 0, 1]);
});

test('says what is released on this machine: as it greets, and whenever that changes', async () => {
  const { link, stream, released } = await open();
  released.push({ reason: 'down', by: 'uid:7', at: START });
  link.start();
  const told = { workload: '', reason: 'down', by: 'uid:7', at: BigInt(START), until: 0n };
  expect(stream().sent).toMatchObject([{ case: 'hello', value: { local: [told] } }]);
  released.pop();
  link.localChanged();
  expect(stream().sent.at(-1)).toMatchObject({ case: 'local', value: { releases: [] } });
});

test('says hello first, with the state that is in force already', async () => {
  const { link, stream } = await open();
  link.start();
  expect(stream().sent).toMatchObject([
    {
      case: 'hello',
      value: {
        version: 't',
        instance: 'a',
        workloads: ['spiffe://example.org/cart'],
        stateVersion: 7n,
        now: BigInt(START),
      },
    },
  ]);
  link.close();
});

test('a state that is in force is confirmed; one that cannot be is refused with the reason', async () => {
  const { link, stream, states, online, failWith } = await open();
  link.start();
  stream().state(8);
  expect([states.map(({ version }) => version), online]).toEqual([[8n], [true]]);
  expect(stream().sent.at(-1)).toMatchObject({
    case: 'applied',
    value: { stateVersion: 8n, code: '', message: '' },
  });
  failWith(new InterlockError('invalid_document', 'x', 'a rule that nobody understands'));
  stream().state(9);
  expect(stream().sent.at(-1)).toMatchObject({
    value: { stateVersion: 9n, code: 'invalid_document', message: 'a rule that nobody understands' },
  });
  failWith(new TypeError('secret detail'));
  stream().state(10);
  expect(stream().sent.at(-1)).toMatchObject({
    value: { code: 'unavailable', message: 'the proxy failed to take the state' },
  });
  link.close();
});

test('reports are sent once, four at a time, and the next ones when these are taken', async () => {
  const { link, stream, add, read, spool } = await open();
  add(7);
  link.start();
  stream().state(1);
  await read();
  expect(stream().reports).toEqual([1, 2, 3, 4]);
  link.flush();
  await read();
  expect(stream().reports).toEqual([1, 2, 3, 4]);
  stream().take(START);
  stream().take(START + 1);
  await read();
  expect(stream().reports).toEqual([1, 2, 3, 4, 5, 6]);
  for (let i = 2; i < 7; i++) stream().take(START + i);
  await read();
  for (let i = 2; i < 7; i++) stream().take(START + i);
  expect([stream().reports, spool.size]).toEqual([[1, 2, 3, 4, 5, 6, 7], 0]);
  link.close();
});

test('after a break, what was not taken is sent again, in order', async () => {
  const { link, clock, streams, stream, add, read, online } = await open();
  add(5);
  link.start();
  stream().state(1);
  await read();
  stream().take(START);
  stream().take(START + 2);
  stream().fail();
  // What comes late from a stream that has ended is of the past.
  await clock.advance(60_000);
  expect([streams.length, online]).toEqual([2, [true, false]]);
  stream().state(1);
  await read();
  expect(stream().reports).toEqual([2, 4, 5]);
  link.close();
});

test('a connection that is full gets no more until it has room', async () => {
  const { link, stream, add, read } = await open();
  link.start();
  stream().isFull = true;
  add(3);
  stream().state(1);
  await read();
  expect(stream().reports).toEqual([1]);
  stream().isFull = false;
  stream().handlers.onDrain();
  await read();
  expect(stream().reports).toEqual([1, 2, 3]);
  link.close();
});

test('connects again ever later while nobody answers, and soon after a good connection', async () => {
  const { link, clock, streams, stream } = await open();
  link.start();
  const waits: number[] = [];
  for (let i = 0; i < 6; i++) {
    const before = streams.length;
    const at = clock.now();
    stream().fail();
    while (streams.length === before) await clock.advance(50);
    waits.push(clock.now() - at);
  }
  expect(waits.at(-1)).toBeGreaterThan(2 * (waits[0] ?? 0));
  stream().state(1);
  await clock.advance(30_000);
  const before = streams.length;
  const at = clock.now();
  stream().fail();
  while (streams.length === before) await clock.advance(50);
  expect(clock.now() - at).toBeLessThanOrEqual(waits[0] ?? 0);
  link.close();
});

test('a control plane that asks to be left is left within its time, and what it says later is nothing to fear', async () => {
  const { link, clock, streams, stream } = await open();
  link.start();
  stream().say({ case: 'drain', value: { $typeName: 'interlock.proxy.v1.Drain', withinMs: 1000 } });
  stream().say({ case: undefined });
  await clock.advance(1000);
  expect(stream(0).closed).toBe(true);
  await clock.advance(60_000);
  expect(streams.length).toBe(2);
  link.close();
  expect(stream().closed).toBe(true);
  await clock.advance(600_000);
  expect(streams.length).toBe(2);
});
