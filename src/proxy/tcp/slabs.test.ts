import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../workload/index.ts';
import { newCounters } from '../counters.ts';
import { OutboundListener } from '../outbound/listener.ts';
import { Uplinks } from '../outbound/uplinks.ts';
import { closeAll, closeLater, DB, inbound, startApp, until, WEB, web } from '../proxy.test-helper.ts';
import { DEFAULT_TIMEOUTS } from '../settings.ts';
import { PLAIN_SLABS, Slabs, TLS_SLABS } from './slabs.ts';

afterEach(async () => {
  vi.restoreAllMocks();
  await closeAll();
});

/** Numbers that depend on the seed alone (a linear congruential generator, with the constants of Numerical Recipes). */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The bytes of one way of one connection: each eight say whose they are, and where they stand. */
function stretch(tag: number, from: number, length: number): Buffer {
  const first = from - (from % 8);
  const whole = Buffer.alloc(Math.ceil((from + length - first) / 8) * 8);
  for (let at = 0; at < whole.length; at += 8) {
    whole.writeUInt32BE(tag, at);
    whole.writeUInt32BE((first + at) / 8, at + 4);
  }
  return whole.subarray(from - first, from - first + length);
}

/**
 * One end of a connection: sends its own bytes in pieces of any size, reads with rests, and compares what comes. The caller
 * knows its number; the program learns it from the first bytes, and answers with the number after it.
 */
class End {
  readonly socket: Socket;
  readonly #isCaller: boolean;
  readonly #random: (below: number) => number;
  tag: number | undefined;
  sent = 0;
  received = 0;
  wrong: string | undefined;

  constructor(socket: Socket, random: (below: number) => number, tag?: number) {
    this.socket = socket;
    this.#random = random;
    this.#isCaller = tag !== undefined;
    this.tag = tag;
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  step(): void {
    if (this.tag === undefined || !this.socket.writable) return;
    const size = 8 + this.#random(this.#random(3) === 0 ? 300 : this.#random(8) === 0 ? 4_000_000 : 100_000);
    this.socket.write(stretch(this.#isCaller ? this.tag : this.tag + 1, this.sent, size));
    this.sent += size;
  }

  #take(bytes: Buffer): void {
    this.tag ??= bytes.readUInt32BE(0);
    const expected = stretch(this.#isCaller ? this.tag + 1 : this.tag, this.received, bytes.length);
    if (!bytes.equals(expected))
      this.wrong ??= `${this.tag} at ${this.received}: ${bytes.toString('hex', 0, 32)}`;
    this.received += bytes.length;
    if (this.#random(4) > 0) return;
    this.socket.pause();
    // Long ones fill what the system keeps between the two: writes then wait in the proxies.
    let rest = this.#random(this.#random(8) === 0 ? 600 : 12);
    const wait = () => void (rest-- > 0 ? setImmediate(wait) : this.socket.resume());
    wait();
  }
}

/** Two proxies, one behind the other, whose every way reads into slabs: mutual TLS in between. */
async function chain(onSocket: (socket: Socket) => void) {
  const app = await startApp(onSocket);
  const server = await inbound(app.address, { route: { protocol: 'tcp' } });
  const options = { clock: systemClock, timeouts: DEFAULT_TIMEOUTS };
  const uplinks = closeLater(new Uplinks({ sources: new Map([[WEB, web]]), ...options }));
  const route = {
    listen: { host: '127.0.0.1', port: 0 },
    to: { host: '127.0.0.1', port: server.port },
    peer: DB,
    protocol: 'tcp' as const,
    workload: WEB,
  };
  const more = { counters: newCounters(), log: () => {} };
  return closeLater(await OutboundListener.open({ route, uplinks, ...more, ...options })).address.port;
}

/** What is given back is written over at once: whoever still looked at it would see that. */
function poison(slabs: Slabs): { count: number } {
  const released = { count: 0 };
  const own = new WeakSet<ArrayBufferLike>();
  const copyOf = slabs.copyOf.bind(slabs);
  const release = slabs.release.bind(slabs);
  vi.spyOn(slabs, 'copyOf').mockImplementation((source, length) => {
    const chunk = copyOf(source, length);
    own.add(chunk.buffer);
    return chunk;
  });
  vi.spyOn(slabs, 'release').mockImplementation((chunk) => {
    if (own.has(chunk.buffer)) {
      released.count++;
      new Uint8Array(chunk.buffer).fill(0xee);
    }
    release(chunk);
  });
  return released;
}

describe('buffers that connections share', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'carry no byte of one connection into another: any sizes, rests, resets and ends (schedule %i)',
    async (seed) => {
      const random = randomOf(seed);
      const released = [poison(PLAIN_SLABS), poison(TLS_SLABS)];
      const programs: End[] = [];
      const all: End[] = [];
      const port = await chain((socket) => void programs.push(new End(socket, random)));
      const open = () => {
        const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
        closeLater({ close: () => socket.destroy() });
        const end = new End(socket, random, 2 * all.length);
        all.push(end);
        end.step();
        return end;
      };
      const live = Array.from({ length: 20 }, open);
      const programOf = ({ tag }: End) => programs.find((each) => each.tag === tag);
      for (let step = 0; step < 500; step++) {
        const at = random(live.length);
        const caller = live[at] as End;
        const act = random(100);
        if (act < 60) caller.step();
        else if (act < 90) programOf(caller)?.step();
        else {
          if (act < 93) caller.socket.resetAndDestroy();
          else if (act < 96) caller.socket.destroy();
          else if (act < 98) programOf(caller)?.socket.resetAndDestroy();
          else caller.socket.end();
          live[at] = open();
        }
        if (random(3) === 0) await new Promise(setImmediate);
      }
      // What was not broken off arrives whole.
      for (const caller of live) {
        await until(() => caller.received === programOf(caller)?.sent);
        await until(() => caller.sent === programOf(caller)?.received);
      }
      expect([...all, ...programs].flatMap(({ wrong }) => wrong ?? [])).toEqual([]);
      for (const { count } of released) expect(count).toBeGreaterThan(50);
    },
  );

  it('are given back once, whatever is given back', () => {
    const slabs = new Slabs(64);
    const [one, other] = [slabs.copyOf(Buffer.alloc(64, 1), 8), slabs.copyOf(Buffer.alloc(64, 2), 8)];
    for (const chunk of [one, one, Buffer.alloc(8), Buffer.allocUnsafeSlow(64), one]) slabs.release(chunk);
    const next = [slabs.copyOf(Buffer.alloc(64, 3), 8), slabs.copyOf(Buffer.alloc(64, 4), 8)];
    expect([...next, other].map((each) => each[0])).toEqual([3, 4, 2]);
  });
});
