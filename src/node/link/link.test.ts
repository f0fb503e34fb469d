import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { type FromAgent, FromServerSchema } from '../../proto/index.ts';
import { ManualTimers, settle } from '../manual-timers.test-helper.ts';
import { Link, type StreamHandlers } from './link.ts';

type Message = Exclude<MessageInitShape<typeof FromServerSchema>['message'], undefined>;

function fixture() {
  const timers = new ManualTimers();
  const log = { online: [] as boolean[], replaced: [] as string[], opened: [] as number[] };
  const control = { refuse: false };
  const streams: { sent: FromAgent['message'][]; handlers: StreamHandlers; closed: boolean }[] = [];
  const link = new Link({
    timers,
    version: '1',
    open: async (handlers) => {
      log.opened.push(timers.now());
      if (control.refuse) throw new Error('connection refused');
      const stream = { sent: [] as FromAgent['message'][], handlers, closed: false };
      streams.push(stream);
      return {
        send: (message) => void stream.sent.push(message),
        close: () => {
          stream.closed = true;
          handlers.onEnd(undefined);
        },
      };
    },
    held: () => ({ rulesVersion: 7n, serials: ['0a'] }),
    onRules: () => undefined,
    onBundles: () => undefined,
    onRevocations: () => undefined,
    onReplace: (authority, overMs) => log.replaced.push(`${authority} ${overMs}`),
    onOnline: (online) => log.online.push(online),
  });
  const say = (message: Message, stream = streams.at(-1)) =>
    stream?.handlers.onMessage(create(FromServerSchema, { message }).message);
  const question = (request: bigint) =>
    ({
      case: 'renew',
      value: { $typeName: 'interlock.agent.v1.Renew', request, csr: new Uint8Array() },
    }) as const;
  return { timers, log, control, streams, link, say, question };
}

describe("the agent's link", () => {
  test('says first what the agent holds from before', async () => {
    const { link, streams } = fixture();
    link.start();
    await settle();
    expect(streams[0]?.sent[0]).toMatchObject({
      case: 'hello',
      value: { version: '1', rulesVersion: 7n, held: [Buffer.from([10])] },
    });
  });

  test('brings each answer to its question, in any order', async () => {
    const { link, say, question } = fixture();
    link.start();
    await settle();
    const [first, second] = [link.ask(question), link.ask(question)];
    say({ case: 'signedX509', value: { request: 2n, authority: 'b' } });
    say({ case: 'signedX509', value: { request: 1n, authority: 'a' } });
    expect((await first).value).toMatchObject({ authority: 'a' });
    expect((await second).value).toMatchObject({ authority: 'b' });
  });

  test('passes refusals on: those that pass with time as unavailable', async () => {
    const { link, say, question } = fixture();
    link.start();
    await settle();
    const [final, passing, odd] = [link.ask(question), link.ask(question), link.ask(question)];
    say({ case: 'refused', value: { request: 1n, code: 'forbidden', message: 'not yours' } });
    say({ case: 'refused', value: { request: 2n, code: 'conflict', message: 'busy', retryAfterMs: 5 } });
    say({ case: 'refused', value: { request: 3n, code: '__proto__', message: 'a code of tomorrow' } });
    await expect(final).rejects.toMatchObject({ code: 'forbidden', message: 'not yours' });
    await expect(passing).rejects.toMatchObject({ code: 'unavailable', message: 'busy' });
    await expect(odd).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('fails what is open when the connection ends, and what is asked without one', async () => {
    const { link, streams, question } = fixture();
    await expect(link.ask(question)).rejects.toMatchObject({ code: 'unavailable' });
    link.start();
    await settle();
    const open = link.ask(question);
    streams[0]?.handlers.onEnd(new Error('reset'));
    await expect(open).rejects.toMatchObject({ code: 'unavailable' });
    expect(link.online).toBe(false);
  });

  test('gives up a question that is not answered', async () => {
    const { link, timers, question } = fixture();
    link.start();
    await settle();
    const late = link.ask(question).catch((error: unknown) => error);
    await timers.advance(31_000);
    expect(await late).toMatchObject({ code: 'unavailable' });
  });

  test('connects again after longer and longer times, spread by chance, at most half a minute', async () => {
    const { link, timers, control, log } = fixture();
    control.refuse = true;
    timers.chance = 0.999;
    link.start();
    await timers.advance(300_000);
    const gaps = log.opened.slice(1).map((at, i) => Math.round((at - (log.opened[i] ?? 0)) / 1000));
    expect(gaps.slice(0, 6)).toEqual([2, 4, 8, 16, 30, 30]);
    const other = fixture();
    other.control.refuse = true;
    other.timers.chance = 0.1;
    other.link.start();
    await other.timers.advance(1000);
    expect(other.log.opened).toHaveLength(3);
  });

  test('does not hammer a server that lets it in and drops it at once', async () => {
    const { link, timers, streams, log } = fixture();
    timers.chance = 0.999;
    link.start();
    for (let second = 0; second < 120; second++) {
      await timers.advance(1000);
      const last = streams.at(-1);
      if (link.online) last?.handlers.onEnd(new Error('reset'));
    }
    expect(log.opened.length).toBeLessThan(10);
  });

  test('connects again at once when asked, and goes within the time that a stopping server gives', async () => {
    const { link, timers, streams, say, log } = fixture();
    link.start();
    await timers.advance(20_000);
    say({ case: 'drain', value: { withinMs: 10_000 } });
    await timers.advance(4000);
    expect(streams[0]?.closed).toBe(false);
    await timers.advance(3000);
    expect(streams[0]?.closed).toBe(true);
    expect(streams).toHaveLength(2);
    expect(log.online).toEqual([true, false, true]);
  });

  test('passes replacements on, and ignores messages of a newer server', async () => {
    const { link, say, log } = fixture();
    link.start();
    await settle();
    say({ case: 'replace', value: { authority: 'x', overMs: 5 } });
    say({ case: undefined });
    expect(log.replaced).toEqual(['x 5']);
  });

  test('stays closed', async () => {
    const { link, timers, streams } = fixture();
    link.start();
    await settle();
    link.close();
    await timers.advance(100_000);
    expect(streams).toHaveLength(1);
    expect(timers.waiting).toBe(0);
  });
});
