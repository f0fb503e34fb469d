import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { TestClock } from '../../workload/testing.ts';
import {
  closeAll,
  dial,
  enforcement,
  inbound,
  policy,
  readAll,
  readUntil,
  startApp,
  until,
} from '../proxy.test-helper.ts';

afterEach(closeAll);

const tcp = { route: { protocol: 'tcp' as const } };

/** A program and a caller that are joined by the proxy, through mutual TLS. */
async function joined(options: object = {}) {
  const app = await startApp(() => {});
  const proxy = await inbound(app.address, { ...tcp, ...options });
  const caller = await dial(proxy.port);
  caller.write('first');
  await until(() => app.sockets.length === 1);
  const program = app.sockets[0] as Socket;
  expect(await readUntil(program, /first/)).toBe('first');
  return { ...proxy, caller, program };
}

/** Reads a little at a time, with rests. */
async function readSlowly(socket: Socket, length: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let left = length;
  socket.pause();
  while (left > 0) {
    const piece = socket.read() as Buffer | null;
    if (piece === null) await new Promise((resolve) => socket.once('readable', resolve));
    else {
      pieces.push(piece);
      left -= piece.length;
      await new Promise(setImmediate);
    }
  }
  return Buffer.concat(pieces);
}

describe('a joined connection', () => {
  it.each(['to the program', 'to the caller'])(
    'carries every byte %s, however slow the reader is',
    async (way) => {
      const { caller, program } = await joined();
      const [from, to] = way === 'to the program' ? [caller, program] : [program, caller];
      const sent = randomBytes(8_000_000);
      const received = readSlowly(to, sent.length);
      from.write(sent);
      expect((await received).equals(sent)).toBe(true);
    },
  );

  it('carries every byte both ways at once, in pieces of any size', async () => {
    const { caller, program } = await joined();
    const sent = [randomBytes(3_000_000), randomBytes(3_000_000)] as const;
    const received = [readSlowly(program, sent[0].length), readSlowly(caller, sent[1].length)] as const;
    for (const [i, socket] of [caller, program].entries()) {
      const bytes = sent[i] as Buffer;
      for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7 + 3) % 50_021) {
        socket.write(bytes.subarray(at, at + size));
      }
    }
    expect((await received[0]).equals(sent[0])).toBe(true);
    expect((await received[1]).equals(sent[1])).toBe(true);
  });

  it('stops reading from a sender whose receiver does not read', async () => {
    const { caller, program } = await joined();
    caller.pause();
    program.write(randomBytes(64_000_000));
    let before = -1;
    // What is on its way fills the buffers between them, and then nothing moves.
    for (let still = 0; still < 50; ) {
      await new Promise(setImmediate);
      still = program.writableLength === before ? still + 1 : 0;
      before = program.writableLength;
    }
    expect(program.writableLength).toBeGreaterThan(16_000_000);
    caller.resume();
    await new Promise((resolve) => program.once('drain', resolve));
  });

  it('lets either end go on after the other has stopped sending', async () => {
    const { caller, program } = await joined();
    caller.allowHalfOpen = true;
    caller.end('last words');
    expect(await readAll(program)).toBe('last words');
    program.write('an answer all the same');
    expect(await readUntil(caller, /same$/)).toBe('an answer all the same');
    program.end();
    await readAll(caller);
  });

  it('and the other way round', async () => {
    const { caller, program } = await joined();
    caller.allowHalfOpen = true;
    program.end('goodbye');
    expect(await readAll(caller)).toBe('goodbye');
    caller.write('one thing more');
    expect(await readUntil(program, /more$/)).toBe('one thing more');
    caller.end();
    await readAll(program);
  });

  it('breaks as a whole', async () => {
    const { caller, program, listener } = await joined();
    const closed = new Promise((resolve) => caller.once('close', resolve));
    program.resetAndDestroy();
    await closed;
    await until(() => listener.size === 0);
    const second = await joined();
    second.caller.destroy();
    expect(await readAll(second.program)).toBe('');
  });

  it('ends when nothing moves for long', async () => {
    const clock = new TestClock();
    const { caller, program, context } = await joined({ clock });
    clock.advance(context.timeouts.tunnel - 1);
    program.write('still here');
    expect(await readUntil(caller, /here/)).toBe('still here');
    clock.advance(context.timeouts.tunnel);
    expect(await readAll(caller)).toBe('');
  });

  it('is not made where policy denies it, or where the program does not answer', async () => {
    const app = await startApp(() => {});
    const denied = await inbound(app.address, { ...tcp, enforcements: [enforcement([policy([])])] });
    expect(await readAll(await dial(denied.port))).toBe('');
    expect([denied.recorder.lines, app.sockets.length]).toEqual([['tcp /web denied'], 0]);
    await new Promise((resolve) => app.server.close(resolve));
    const absent = await inbound(app.address, tcp);
    expect(await readAll(await dial(absent.port))).toBe('');
    expect(absent.recorder.lines).toEqual(['tcp /web failed']);
  });
});
