import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import type { ParentClient } from './parent-client.ts';
import { ParentLink } from './parent-link.ts';

test('a parent that says often that it is stopping is connected to once more, not as often', async () => {
  const timers = new ManualTimers();
  const streams: EventEmitter[] = [];
  const connect = () => {
    const stream = Object.assign(new EventEmitter(), { write: () => true, cancel: () => {} });
    streams.push(stream);
    return stream;
  };
  const link = new ParentLink({
    timers,
    version: 'test',
    // As much of a client as the link asks for.
    client: () => ({ connect, close: () => {} }) as unknown as ParentClient,
    onMessage: () => {},
    onOnline: () => {},
  });
  link.start();
  for (let i = 0; i < 100; i++)
    streams[0]?.emit('data', { message: { case: 'drain', value: { withinMs: 1000 } } });
  expect(timers.waiting).toBe(1);
  await timers.advance(1000);
  expect(streams).toHaveLength(2);
  link.close();
});
