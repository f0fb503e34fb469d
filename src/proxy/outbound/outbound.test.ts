import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../workload/index.ts';
import { newCounters } from '../counters.ts';
import type { LogLine } from '../inbound/connection.ts';
import {
  closeAll,
  closeLater,
  DB,
  dialPlain,
  httpApp,
  inbound,
  readAll,
  readUntil,
  startApp,
  view,
  WEB,
  web,
} from '../proxy.test-helper.ts';
import { DEFAULT_TIMEOUTS } from '../settings.ts';
import type { OutboundRoute } from '../types.ts';
import { OutboundListener, type OutboundOptions } from './listener.ts';
import { Uplinks } from './uplinks.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = 'GET /a HTTP/1.1\r\nHost: db\r\n\r\n';

type Changes = Omit<Partial<OutboundRoute>, 'workload'> & { workload?: undefined };

/** A port through which the web workload calls the database's proxy. */
async function outbound(to: number, route: Changes = {}, more: Partial<OutboundOptions> = {}) {
  const log: LogLine[] = [];
  const { workload: _, ...withoutWorkload } = route;
  const uplinks = closeLater(
    new Uplinks({
      sources: new Map([
        [WEB, web],
        [job.state.svid.spiffeId, job],
      ]),
      clock: systemClock,
      timeouts: DEFAULT_TIMEOUTS,
    }),
  );
  const listener = closeLater(
    await OutboundListener.open({
      route: {
        listen: { host: '127.0.0.1', port: 0 },
        to: { host: '127.0.0.1', port: to },
        peer: DB,
        protocol: 'http',
        ...withoutWorkload,
        ...('workload' in route ? {} : { workload: WEB }),
      },
      uplinks,
      clock: systemClock,
      timeouts: DEFAULT_TIMEOUTS,
      counters: newCounters(),
      log: (line) => log.push(line),
      ...more,
    }),
  );
  return { port: listener.address.port, listener, uplinks, log };
}

const job = view('/job');

describe('a local program', () => {
  it('reaches its peer through mutual TLS, over connections that are used again', async () => {
    const app = await httpApp(OK);
    const there = await inbound(app.address);
    const { port } = await outbound(there.port);
    for (let i = 0; i < 3; i++) {
      const socket = await dialPlain(port);
      socket.write(GET + GET);
      expect(await readUntil(socket, /ok[^]*ok$/)).toBe(OK + OK);
      socket.destroy();
    }
    expect(there.recorder.lines).toEqual(Array.from({ length: 6 }, () => 'GET /a /web ok'));
    expect(there.context.counters.accepted).toBe(1);
  });

  it('is answered 503 where another identity answers, and not a byte has gone to it', async () => {
    const app = await httpApp(OK);
    const there = await inbound(app.address, { source: view('/impostor') });
    const { port, log } = await outbound(there.port);
    const socket = await dialPlain(port);
    socket.write(GET);
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 503 /);
    expect([app.requests, there.recorder.lines]).toEqual([[], []]);
    expect(log[0]?.reason).toContain('spiffe://example.org/db is expected');
  });

  it.each(['to', 'from'])('carries every byte %s its peer', async (way) => {
    const bytes = randomBytes(5_000_000);
    const app = await startApp((socket) => {
      if (way === 'from') socket.end(bytes);
      else socket.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end());
    });
    const there = await inbound(app.address, { route: { protocol: 'tcp' } });
    const { port } = await outbound(there.port, { protocol: 'tcp' });
    const socket = await dialPlain(port);
    if (way === 'to') socket.end(bytes);
    expect(Buffer.from(await readAll(socket), 'latin1').equals(bytes)).toBe(true);
  });

  it('is told apart by who owns its connection, and pools are not shared', async () => {
    const app = await httpApp(OK);
    const there = await inbound(app.address);
    const owners = [WEB, job.state.svid.spiffeId, undefined];
    const { port } = await outbound(there.port, { workload: undefined }, { ownerOf: () => owners.shift() });
    for (let i = 0; i < 2; i++) {
      const socket = await dialPlain(port);
      socket.write(GET);
      await readUntil(socket, /ok$/);
    }
    const stranger = await dialPlain(port);
    stranger.write(GET);
    expect(await readAll(stranger)).toBe('');
    expect(there.recorder.lines).toEqual(['GET /a /web ok', 'GET /a /job ok']);
    expect(there.context.counters.accepted).toBe(2);
  });

  it('goes out under the renewed SVID, without an error', async () => {
    const app = await httpApp(OK);
    const there = await inbound(app.address);
    const { port } = await outbound(there.port);
    const socket = await dialPlain(port);
    for (let i = 0; i < 3; i++) {
      socket.write(GET);
      expect(await readUntil(socket, /ok$/)).toBe(OK);
      web.set({ svid: view('/web').state.svid });
    }
    expect(there.context.counters.accepted).toBe(3);
  });

  it('is named to a peer that believes it, by a PROXY header inside TLS', async () => {
    const app = await httpApp(OK);
    const there = await inbound(app.address, {
      route: { trustProxyHeader: { addresses: [], workloads: [WEB] } },
    });
    const { port } = await outbound(there.port, { sendProxyHeader: 'v2' });
    const socket = await dialPlain(port);
    socket.write(GET);
    await readUntil(socket, /ok$/);
    expect(there.recorder.accesses[0]?.caller.port).toBe(socket.localPort);
  });
});
