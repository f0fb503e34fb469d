import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { NOTICE_TYPES } from '../../api/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { type Change, type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { problemOf } from '../api/problem.ts';
import { retryAfterOf } from '../api/retry-after.ts';
import { Recorder } from '../identity/recorder.ts';
import { realTimers } from '../timers.ts';
import type { ChannelConfig } from './config.ts';
import { Notifier } from './notifier.ts';
import type { Posted } from './post.ts';
import type { Standing } from './standing.ts';

const CART = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const HOUR = 3_600_000;

interface Sent {
  readonly channel: string;
  readonly id: string;
  readonly type: string;
  readonly count: number;
  readonly summary: string;
}

/** What answers: a status, or an error; a promise is a receiver that takes its time. */
type Answering = (sent: Sent) => Promise<Posted> | Posted;

let dir: string;
let store: IdentityStore;
let timers: ManualTimers;
let recorder: Recorder;
let sent: Sent[];
let faults: unknown[];
let answers: Map<string, Answering>;
let standing: Standing[];
const open = new Set<Notifier>();

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-notifier-'));
  store = await openIdentityStore(dir, { create: true });
  timers = new ManualTimers();
  recorder = recorderOf(store);
  sent = [];
  faults = [];
  answers = new Map();
  standing = [];
});
afterEach(async () => {
  for (const notifier of open) await notifier.close();
  open.clear();
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

/** The disk takes the time that it takes, whatever the clock of the test says. */
function recorderOf(of: IdentityStore): Recorder {
  return new Recorder(of, {
    now: () => timers.now(),
    random: () => 0,
    after: (ms, run) => realTimers.after(ms, run),
  });
}

const channel = (name: string, over: Partial<ChannelConfig> = {}): ChannelConfig => ({
  name,
  kind: 'webhook',
  url: new URL(`https://${name}.example/PATH-IS-SECRET`),
  secrets: [Buffer.alloc(32)],
  on: new Set(NOTICE_TYPES),
  only: {},
  allowPrivate: false,
  ...over,
});

async function start(
  channels: readonly ChannelConfig[],
  over: { store?: IdentityStore; recorder?: Recorder } = {},
): Promise<Notifier> {
  const notifier = await Notifier.open({
    config: { channels },
    store,
    recorder,
    timers,
    origin: () => 'https://interlock.example.com',
    known: { tierOf: () => 'standard', ownersOf: () => [] },
    standing: () => standing,
    onOutcome: () => {},
    onFault: (error) => faults.push(error),
    send: async ({ url }, { body }) => {
      const { id, type, summary, details } = JSON.parse(body) as Sent & { details: { count: number } };
      const one = { channel: url.hostname.replace('.example', ''), id, type, summary, count: details.count };
      sent.push(one);
      return (await answers.get(one.channel)?.(one)) ?? { status: 200 };
    },
    ...over,
  });
  open.add(notifier);
  await settled();
  return notifier;
}

/** Everything that the store was asked has come back, and what followed from it. */
async function settled(): Promise<void> {
  for (let i = 0; i < 6; i++) {
    await store.documents('notification');
    await timers.advance(0);
  }
}

async function pass(ms: number): Promise<void> {
  await timers.advance(ms);
  await settled();
}

/** The store with some of its methods in another way. */
function storeWith(other: Partial<IdentityStore>): IdentityStore {
  return new Proxy(store, {
    get(target, name) {
      const own: unknown = Reflect.get(other, name);
      if (own !== undefined) return own;
      const method: unknown = Reflect.get(target, name);
      return typeof method === 'function' ? method.bind(target) : method;
    },
  });
}

const act = (
  name: string,
  what = 'everything',
  details: Readonly<Record<string, string | number>> = {},
  who = 'bob',
) => recorder.record([], recorder.entry(who, name, what, details));
const opened = (workload = CART) => act('review.open', workload, { added: 1 }, 'system');
const messages = async () =>
  (await store.documents('notification')).filter(({ name }) => name.startsWith('message/'));

describe('what happens', () => {
  test('is told once it is in the audit log, and what was before the first start is not', async () => {
    await act('release');
    await start([channel('ops')]);
    await pass(20_000);
    expect(sent).toEqual([]);
    await act('arm');
    await pass(1000);
    expect(sent).toMatchObject([{ channel: 'ops', type: 'arm', count: 1 }]);
    expect(await messages()).toEqual([]);
    expect(faults).toEqual([]);
  });

  test('is told to the channels that want it', async () => {
    await start([
      channel('releases', { on: new Set(['release']) }),
      channel('pay', { only: { namespaces: ['pay'] } }),
    ]);
    await act('release');
    await opened();
    await pass(20_000);
    expect(sent.map((each) => [each.channel, each.type])).toEqual([
      ['releases', 'release'],
      ['pay', 'release'],
    ]);
  });

  test('a hundred times is one message with the number', async () => {
    await start([channel('ops')]);
    for (let i = 0; i < 100; i++) await opened(parseSpiffeId(`spiffe://example.org/ns/shop/sa/w${i}`));
    await pass(1000);
    await pass(20_000);
    expect(sent).toMatchObject([
      { type: 'proposal', count: 100, summary: '100 workloads with changes that are proposed' },
    ]);
  });

  test('faster than a channel is to be sent waits, and is sent together', async () => {
    await start([channel('ops')]);
    for (let i = 0; i < 40; i++) {
      await act('release');
      await pass(150);
    }
    // Twenty at once, then one in three seconds.
    expect(sent.length).toBeLessThan(25);
    await pass(10_000);
    expect(sent.reduce((sum, { count }) => sum + count, 0)).toBe(40);
  });

  test('and nobody wanted to know is not told to a channel that is set up later', async () => {
    const first = await start([channel('ops', { on: new Set(['release']) })]);
    await act('arm');
    await pass(90_000);
    await first.close();
    open.delete(first);
    await start([channel('ops')]);
    await pass(20_000);
    expect(sent).toEqual([]);
  });

  test('and stays so for a while is told once, also over a restart', async () => {
    const first = await start([channel('ops')]);
    const notice = {
      type: 'authority-expiring',
      at: 1,
      subject: 'a',
      summary: 'it ends',
      details: {},
      scope: { kind: 'all' },
    } as const;
    standing = [{ key: 'a', notice }];
    await pass(90_000);
    await pass(200_000);
    await first.close();
    open.delete(first);
    await start([channel('ops')]);
    await pass(200_000);
    standing = [...standing, { key: 'b', notice: { ...notice, subject: 'b' } }];
    await pass(90_000);
    expect(sent.map(({ count }) => count)).toEqual([1, 1]);
  });
});

describe('a receiver that is away', () => {
  test('is tried again, later each time, with the same messages, and gets all of them in the end', async () => {
    await start([channel('ops')]);
    answers.set('ops', () =>
      Promise.reject(new InterlockError('unavailable', 'ops.example', 'ops.example does not answer')),
    );
    await act('release');
    await pass(1000);
    await opened();
    const at: number[] = [];
    for (let seen = sent.length, minute = 0; minute < 24 * 60; minute += 30) {
      await pass(1_800_000);
      if (sent.length > seen) at.push(minute);
      seen = sent.length;
    }
    expect(new Set(sent.map(({ id }) => id)).size).toBe(2);
    expect(sent.length).toBeLessThan(10);
    expect(at.length).toBeGreaterThan(3);
    answers.clear();
    await pass(24 * HOUR);
    await pass(60_000);
    expect(
      sent
        .slice(-2)
        .map(({ type }) => type)
        .toSorted(),
    ).toEqual(['proposal', 'release']);
    expect(await messages()).toEqual([]);
  });

  test('is tried at once when the button is pressed', async () => {
    await start([channel('ops')]);
    answers.set('ops', () => ({ status: 503 }));
    await opened();
    await pass(1000);
    for (let i = 0; i < 12; i++) await pass(HOUR);
    answers.clear();
    const before = sent.length;
    await act('release');
    await pass(1000);
    expect(sent.slice(before).map(({ type }) => type)).toContain('release');
  });

  test('delays no other one', async () => {
    await start([channel('slow'), channel('ops')]);
    answers.set('slow', () => new Promise(() => {}));
    await act('release');
    await pass(1000);
    await act('arm');
    await pass(1000);
    expect(sent.filter((each) => each.channel === 'ops').map(({ type }) => type)).toEqual(['release', 'arm']);
    expect(sent.filter((each) => each.channel === 'slow')).toHaveLength(1);
  });

  test('is left alone for as long as it asks', async () => {
    await start([channel('ops')]);
    answers.set('ops', () => ({ status: 429, pauseMs: HOUR }));
    await act('release');
    await pass(1000);
    answers.clear();
    await pass(HOUR - 60_000);
    expect(sent).toHaveLength(1);
    await pass(120_000);
    expect(sent).toHaveLength(2);
  });

  test('for a week loses what is a week old, and that is counted', async () => {
    const notifier = await start([channel('ops')]);
    answers.set('ops', () => ({ status: 503 }));
    await act('release');
    for (let day = 0; day < 9; day++) await pass(24 * HOUR);
    expect(await messages()).toEqual([]);
    const { channels } = await notifier.list();
    expect(channels).toMatchObject([{ name: 'ops', gaveUp: 1, sent: 0, fault: 'ops.example answered 503' }]);
  });

  test('fills its room and no more: the oldest make place, and are counted', async () => {
    const notifier = await start([channel('ops')]);
    answers.set('ops', () => ({ status: 400 }));
    const put = (i: number): Change => ({
      change: 'put',
      kind: 'notification',
      name: `message/ops/msg_${i}`,
      data: {
        id: `msg_${i}`,
        channel: 'ops',
        type: 'comment',
        count: 2,
        at: timers.now() + i,
        lastAt: 1,
        items: [],
        attempts: 1,
        notBefore: timers.now() + 20 * HOUR,
      },
    });
    await notifier.close();
    open.delete(notifier);
    await recorder.commit(Array.from({ length: 200 }, (_, i) => put(i)));
    const again = await start([channel('ops')]);
    await act('release');
    await pass(1000);
    expect((await messages()).length).toBe(200);
    expect((await again.list()).channels).toMatchObject([{ dropped: 2, waiting: 2 * 199 + 1 }]);
    expect((await messages()).some(({ name }) => name.endsWith('/msg_0'))).toBe(false);
  });
});

describe('a message', () => {
  test('that is refused holds up no other one', async () => {
    await start([channel('ops')]);
    answers.set('ops', ({ type }) => ({ status: type === 'release' ? 400 : 200 }));
    await act('release');
    await pass(1000);
    await act('arm');
    await pass(1000);
    expect(sent.map(({ type }) => type)).toEqual(['release', 'arm']);
    expect((await messages()).length).toBe(1);
  });

  test('that was tried stays what it is: what happens then is another one', async () => {
    await start([channel('ops')]);
    answers.set('ops', () => ({ status: 500 }));
    await act('release');
    await pass(1000);
    await act('release');
    await pass(1000);
    answers.clear();
    await pass(60_000);
    expect(new Set(sent.map(({ count }) => count))).toEqual(new Set([1]));
    expect(new Set(sent.map(({ id }) => id)).size).toBe(2);
  });

  test('to a receiver that is gone for good is not sent again', async () => {
    await start([channel('ops')]);
    answers.set('ops', () => ({ status: 410 }));
    await act('release');
    await pass(48 * HOUR);
    expect([sent.length, (await messages()).length]).toEqual([1, 0]);
  });

  test('is in the store before it is sent, and sent again after a crash in the middle', async () => {
    const first = await start([channel('ops')]);
    const kept: unknown[] = [];
    answers.set('ops', async () => {
      kept.push(...(await messages()).map(({ data }) => data));
      return new Promise(() => {});
    });
    await act('release');
    await pass(1000);
    expect(kept).toMatchObject([{ type: 'release', attempts: 1 }]);
    // The process ends before the receiver has answered.
    open.delete(first);
    const [before] = sent;
    await first.close();
    answers.clear();
    await start([channel('ops')]);
    await pass(1000);
    expect(sent.map(({ id }) => id)).toEqual([before?.id, before?.id]);
    expect(await messages()).toEqual([]);
  });

  test('to a channel that is not set up any more is forgotten', async () => {
    const first = await start([channel('ops')]);
    answers.set('ops', () => ({ status: 500 }));
    await act('release');
    await pass(1000);
    await first.close();
    open.delete(first);
    await start([channel('other')]);
    await pass(1000);
    expect(await messages()).toEqual([]);
  });
});

describe('the store', () => {
  test('that takes nothing holds messages back, and nothing is left out afterwards', async () => {
    let isAway = false;
    const away = () => {
      if (isAway) throw new InterlockError('unavailable', 'store', 'the store is away');
    };
    const failing = storeWith({
      commit: async (...given) => {
        away();
        return store.commit(...given);
      },
    });
    await start([channel('ops')], { recorder: recorderOf(failing) });
    isAway = true;
    await act('release');
    await pass(30_000);
    expect(sent).toEqual([]);
    // Complained of once.
    expect(faults).toHaveLength(1);
    isAway = false;
    await pass(10_000);
    expect(sent).toMatchObject([{ type: 'release' }]);
  });

  test('whose answer was lost is not asked to keep the same thing twice', async () => {
    let loses = false;
    const losing = storeWith({
      commit: async (...given) => {
        await store.commit(...given);
        if (!loses) return;
        loses = false;
        throw new InterlockError('unavailable', 'store', 'nobody knows');
      },
    });
    await start([channel('ops')], { recorder: recorderOf(losing) });
    loses = true;
    await act('release');
    await pass(20_000);
    await act('arm');
    await pass(20_000);
    expect(sent.map(({ type, count }) => [type, count])).toEqual([
      ['release', 1],
      ['arm', 1],
    ]);
  });
});

describe('of two control planes', () => {
  test('one sends, and the other takes over without a gap or a double', async () => {
    const leads: ((isLeader: boolean) => void)[] = [];
    const shared = storeWith({
      lead: async (onLead) => {
        leads.push(onLead);
        return async () => {};
      },
    });
    await start([channel('ops')], { store: shared });
    await start([channel('ops')], { store: shared });
    leads[0]?.(true);
    await settled();
    await act('release');
    await pass(1000);
    leads[0]?.(false);
    await settled();
    // Nobody leads for a while.
    await act('arm');
    await pass(1000);
    leads[1]?.(true);
    await pass(1000);
    await act('release');
    await pass(1000);
    expect(sent.map(({ type, count }) => [type, count])).toEqual([
      ['release', 1],
      ['arm', 1],
      ['release', 1],
    ]);
    expect(faults).toEqual([]);
  });

  test('that both believe to lead, one finds out, and nothing is put into two messages', async () => {
    const both = storeWith({
      lead: async (onLead) => {
        onLead(true);
        return async () => {};
      },
    });
    await start([channel('ops', { on: new Set(['proposal']) })], { store: both });
    await start([channel('ops', { on: new Set(['proposal']) })], { store: both });
    await opened();
    await pass(1000);
    await pass(30_000);
    const ids = new Set(sent.map(({ id }) => id));
    expect(ids.size).toBe(1);
  });
});

describe('what is known of a channel', () => {
  test('holds how it fares, and neither its address nor a secret', async () => {
    const notifier = await start([channel('ops')]);
    answers.set('ops', () => ({ status: 500 }));
    await act('release');
    await pass(1000);
    const listed = await notifier.list();
    expect(listed.channels).toMatchObject([
      {
        name: 'ops',
        host: 'ops.example',
        waiting: 1,
        sent: 0,
        failures: 1,
        fault: 'ops.example answered 500',
      },
    ]);
    expect(listed.messages).toMatchObject([{ channel: 'ops', type: 'release', count: 1, attempts: 1 }]);
    expect(JSON.stringify([listed, await store.documents('notification'), faults])).not.toContain(
      'PATH-IS-SECRET',
    );
    expect(notifier.waiting()).toEqual(new Map([['ops', 1]]));
  });

  test('is tried by a test, at once and once', async () => {
    const notifier = await start([channel('ops')]);
    expect(await notifier.test('bob', 'ops')).toEqual({
      channel: 'ops',
      isDelivered: true,
      fault: undefined,
    });
    answers.set('ops', () => ({ status: 302 }));
    expect(await notifier.test('bob', 'ops')).toEqual({
      channel: 'ops',
      isDelivered: false,
      fault: 'ops.example answered 302: redirects are not followed',
    });
    await expect(notifier.test('bob', 'none')).rejects.toMatchObject({ code: 'not_found' });
    await pass(60_000);
    expect(sent.map(({ type }) => type)).toEqual(['test', 'test']);
  });

  test('is tried five times a minute at most, also where tests come to nothing', async () => {
    const notifier = await start([channel('ops'), channel('team')]);
    answers.set('ops', () => ({ status: 500 }));
    for (let i = 0; i < 5; i++) await notifier.test('bob', 'ops');
    const refused: unknown = await notifier.test('bob', 'ops').catch((error: unknown) => error);
    expect([problemOf(refused).status, retryAfterOf(refused)]).toEqual([429, 60]);
    expect(await notifier.test('bob', 'team')).toMatchObject({ isDelivered: true });
    expect(sent).toHaveLength(6);
    await pass(60_000);
    expect(await notifier.test('bob', 'ops')).toMatchObject({ isDelivered: false });
  });
});
