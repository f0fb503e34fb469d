import { connect, type ClientHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { SpiffeId } from '../../src/access/index.ts';
import { newCounters } from '../../src/proxy/counters.ts';
import { http2Server } from '../../src/proxy/http2/inbound.ts';
import { http2Outbound } from '../../src/proxy/http2/outbound.ts';
import { ProgramSessions } from '../../src/proxy/http2/program-sessions.ts';
import type { LogLine } from '../../src/proxy/inbound/connection.ts';
import type { InboundOptions } from '../../src/proxy/inbound/listener.ts';
import { OutboundListener } from '../../src/proxy/outbound/listener.ts';
import { Uplinks } from '../../src/proxy/outbound/uplinks.ts';
import { closeLater, DB, inbound, type TestInbound, WEB, web } from '../../src/proxy/proxy.test-helper.ts';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../../src/proxy/settings.ts';
import type { Address, InboundRoute, OutboundRoute } from '../../src/proxy/types.ts';
import type { Enforcement } from '../../src/rollout/index.ts';
import { type Clock, systemClock, type X509View } from '../../src/workload/index.ts';

export interface Settings {
  readonly timeouts?: Partial<Timeouts>;
  readonly clock?: Clock;
  readonly enforcements?: readonly Enforcement[];
  /** What rules end by, where it is not the clock. */
  readonly now?: () => number;
  readonly inbound?: Partial<InboundRoute>;
  readonly listener?: Partial<Omit<InboundOptions, 'route' | 'context'>>;
}

/** An inbound port that speaks HTTP/2. */
export function inboundHttp2(forward: Address, settings: Settings = {}): Promise<TestInbound> {
  const { clock = systemClock, timeouts, enforcements, inbound: route, listener, now } = settings;
  const programs = closeLater(new ProgramSessions(clock, { ...DEFAULT_TIMEOUTS, ...timeouts }));
  return inbound(forward, {
    clock,
    http2: http2Server(programs),
    ...(timeouts === undefined ? {} : { timeouts }),
    ...(enforcements === undefined ? {} : { enforcements }),
    ...(now === undefined ? {} : { now }),
    ...(route === undefined ? {} : { route }),
    ...listener,
  });
}

export interface TestOutbound {
  readonly port: number;
  readonly listener: OutboundListener;
  readonly uplinks: Uplinks;
  readonly log: LogLine[];
  readonly counters: ReturnType<typeof newCounters>;
}

/** A port on loopback through which a workload calls the database's proxy at `port`. */
export async function outboundHttp2(
  port: number,
  options: {
    readonly route?: Partial<OutboundRoute>;
    readonly sources?: ReadonlyMap<SpiffeId, X509View>;
    readonly settings?: Settings;
    readonly ownerOf?: (socket: Socket) => SpiffeId | undefined;
  } = {},
): Promise<TestOutbound> {
  const { clock = systemClock, timeouts: some } = options.settings ?? {};
  const timeouts = { ...DEFAULT_TIMEOUTS, ...some };
  const sources = options.sources ?? new Map<SpiffeId, X509View>([[WEB, web]]);
  const uplinks = closeLater(new Uplinks({ sources, clock, timeouts }));
  const log: LogLine[] = [];
  const counters = newCounters();
  const { ownerOf } = options;
  const route: OutboundRoute = {
    listen: { host: '127.0.0.1', port: 0 },
    to: { host: '127.0.0.1', port },
    peer: DB,
    protocol: 'http',
    ...(ownerOf === undefined ? { workload: WEB } : {}),
    ...options.route,
  };
  const listener = closeLater(
    await OutboundListener.open({
      route,
      uplinks,
      clock,
      timeouts,
      counters,
      log: (line) => log.push(line),
      http2: http2Outbound,
      ownerOf,
    }),
  );
  return { port: listener.address.port, listener, uplinks, log, counters };
}

/** Both: a local program of the web workload calls the database's program through two proxies. */
export async function twoProxies(
  forward: Address,
  settings: Settings = {},
): Promise<{ readonly near: TestOutbound; readonly far: TestInbound }> {
  const far = await inboundHttp2(forward, settings);
  return { near: await outboundHttp2(far.port, { settings }), far };
}

/** HTTP/2 in plain text to a port on loopback. */
export function h2c(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  closeLater({ close: () => session.destroy() });
  return session;
}
