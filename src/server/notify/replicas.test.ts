import { EventEmitter, once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { NOTICE_TYPES } from '../../api/index.ts';
import { hasPostgres, newPostgresUrl } from '../../store/postgres/server.test-helper.ts';
import { closeAfterEach, openStores } from '../../store/postgres/stores.test-helper.ts';
import type { IdentityStore } from '../../store/index.ts';
import { Recorder } from '../identity/recorder.ts';
import { realTimers } from '../timers.ts';
import { Notifier } from './notifier.ts';

closeAfterEach();

interface Sent {
  readonly by: string;
  readonly type: string;
  readonly id: string;
}

describe.skipIf(!hasPostgres)('two control planes on PostgreSQL', () => {
  test('tell once what either has done; where the one that sends is gone, the other goes on', async () => {
    const url = await newPostgresUrl();
    const sent: Sent[] = [];
    const faults: unknown[] = [];
    const came = new EventEmitter();
    const start = async (by: string) => {
      const { identity: store } = await openStores(url);
      const recorder = new Recorder(store, realTimers);
      const notifier = await Notifier.open({
        config: {
          channels: [
            {
              name: 'ops',
              kind: 'webhook',
              url: new URL('https://ops.example'),
              secrets: [Buffer.alloc(32)],
              on: new Set(NOTICE_TYPES),
              only: {},
              allowPrivate: false,
            },
          ],
        },
        store,
        recorder,
        timers: realTimers,
        origin: () => undefined,
        known: { tierOf: () => 'standard', ownersOf: () => [] },
        standing: () => [],
        onOutcome: () => {},
        onFault: (error) => faults.push(error),
        send: async (_, { body }) => {
          const { type, id } = JSON.parse(body) as Sent;
          sent.push({ by, type, id });
          came.emit('sent');
          return { status: 200 };
        },
      });
      const press = (act: string) => recorder.record([], recorder.entry('bob', act, 'everything'));
      return { by, notifier, store, press };
    };
    const both = [await start('one'), await start('two')] as const;
    /** Waits for what the store holds. */
    const until = async (store: IdentityStore, holds: (names: readonly string[]) => boolean) => {
      while (!holds((await store.documents('notification')).map(({ name }) => name)))
        await new Promise((resolve) => setImmediate(resolve));
    };
    /** Does something, and waits until somebody was told of it, and that is kept. */
    const told = async ({ press, store }: (typeof both)[number], act: string) => {
      const next = once(came, 'sent');
      await press(act);
      await next;
      await until(store, (names) => names.every((name) => !name.startsWith('message/')));
    };
    // Who is told for the first time is told what happens from then on: the leader has to be there.
    await until(both[0].store, (names) => names.length > 0);
    await told(both[0], 'release');
    await told(both[1], 'arm');
    const [leader, other] = sent[0]?.by === 'one' ? both : [both[1], both[0]];
    await leader.notifier.close();
    await leader.store.close();
    await told(other, 'release');
    expect(sent.map(({ by, type }) => [by, type])).toEqual([
      [leader.by, 'release'],
      [leader.by, 'arm'],
      [other.by, 'release'],
    ]);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(3);
    await other.notifier.close();
    expect(faults).toEqual([]);
  });
});
