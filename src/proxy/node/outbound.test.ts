import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../workload/index.ts';
import { newCounters } from '../counters.ts';
import type { InboundContext, LogLine } from '../inbound/connection.ts';
import { Uplinks } from '../outbound/uplinks.ts';
import {
  closeAll,
  closeLater,
  dialPlain,
  readAll,
  readUntil,
  startApp,
  TestRecorder,
  WEB,
  web,
} from '../proxy.test-helper.ts';
import { DEFAULT_TIMEOUTS } from '../settings.ts';
import type { Address } from '../types.ts';
import { Verdicts } from '../verdicts/verdicts.ts';
import { NodeOutbound } from './outbound.ts';
import type { Owned } from './owners.ts';
import { Unmanaged } from './unmanaged.ts';

afterEach(closeAll);

async function intercepting(owned: Owned, original: Address | undefined, passthrough = true) {
  const log: LogLine[] = [];
  const context: InboundContext = {
    verdicts: new Verdicts(),
    recorder: new TestRecorder(),
    clock: systemClock,
    timeouts: DEFAULT_TIMEOUTS,
    counters: newCounters(),
    log: (line) => log.push(line),
  };
  const uplinks = closeLater(
    new Uplinks({ sources: new Map([[WEB, web]]), clock: systemClock, timeouts: DEFAULT_TIMEOUTS }),
  );
  const unmanaged = new Unmanaged();
  const outbound = closeLater(
    await NodeOutbound.open({
      document: { outbound: [], intercept: { listen: [{ host: '127.0.0.1', port: 0 }], passthrough } },
      uplinks,
      context,
      owners: { connection: async () => owned },
      unmanaged,
      originalOf: () => original,
    }),
  );
  const port = outbound.addresses[0]?.port ?? 0;
  return { outbound, log, context, unmanaged, socket: await dialPlain(port) };
}

describe('an intercepted connection without a route', () => {
  const greeter = () =>
    startApp((socket) => {
      let came = '';
      socket.write('ready\n');
      socket.on('data', (bytes) => (came += String(bytes)));
      socket.on('end', () => socket.end(`got ${came}`));
    });

  test('goes where it was meant to go, as it is, and is listed', async () => {
    const app = await greeter();
    const { socket, unmanaged, log } = await intercepting({ workload: WEB, pid: 1 }, app.address);
    expect(await readUntil(socket, /ready/)).toBe('ready\n');
    socket.end('hello');
    expect(await readAll(socket)).toBe('got hello');
    const to = `127.0.0.1:${app.address.port}`;
    expect(unmanaged.calls).toMatchObject([{ from: WEB, to, count: 1 }]);
    expect(log).toMatchObject([{ event: 'unmanaged', from: WEB }]);
  });

  test('goes on for a process that is no workload too', async () => {
    const app = await greeter();
    const { socket, unmanaged } = await intercepting({ reason: 'a stranger', uid: 7 }, app.address);
    socket.end();
    expect(await readAll(socket)).toContain('got');
    expect(unmanaged.calls).toMatchObject([{ from: 'user 7' }]);
  });

  test.each<[string, Owned, boolean, string]>([
    [
      "is the proxy's own",
      { reason: 'it came back', isOwn: true },
      true,
      'leave the proxy out of interception',
    ],
    ['may not pass', { workload: WEB, pid: 1 }, false, 'nothing passes without one'],
  ])('is refused where it %s', async (_, owned, passthrough, reason) => {
    const app = await greeter();
    const { socket, log, context } = await intercepting(owned, app.address, passthrough);
    expect(await readAll(socket)).toBe('');
    expect(app.sockets).toHaveLength(0);
    expect(log[0]?.reason).toContain(reason);
    expect(context.counters.refused).toBe(1);
  });

  test('is refused where nobody redirected it', async () => {
    const { socket, log } = await intercepting({ workload: WEB, pid: 1 }, undefined);
    expect(await readAll(socket)).toBe('');
    expect(log[0]?.reason).toContain('nobody redirected');
  });

  test('breaks for its program where nobody answers', async () => {
    const app = await greeter();
    app.server.close();
    for (const socket of app.sockets) socket.destroy();
    const { socket, log } = await intercepting({ workload: WEB, pid: 1 }, app.address);
    expect(await readAll(socket)).toBe('');
    expect(log.map(({ event }) => event)).toEqual(['unmanaged', 'unreachable']);
  });

  test('ends when the proxy does', async () => {
    const app = await greeter();
    const { socket, outbound } = await intercepting({ workload: WEB, pid: 1 }, app.address);
    await readUntil(socket, /ready/);
    expect(outbound.size).toBe(1);
    const end = readAll(socket);
    await outbound.drain(0);
    await end;
    expect(outbound.size).toBe(0);
  });
});

describe('the list of what passes', () => {
  test('has an end, after which it is only counted', () => {
    const unmanaged = new Unmanaged();
    expect(unmanaged.record('a', 'b', 1)).toBe(true);
    expect(unmanaged.record('a', 'b', 2)).toBe(false);
    for (let i = 0; i < 2000; i++) unmanaged.record('a', String(i), 3);
    expect(unmanaged.calls).toHaveLength(1000);
    expect(unmanaged.total).toBe(2002);
    expect(unmanaged.calls[0]).toEqual({ from: 'a', to: 'b', count: 2, firstSeen: 1, lastSeen: 2 });
  });
});
