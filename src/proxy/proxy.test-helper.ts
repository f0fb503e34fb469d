import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AccessPolicy, Rule } from '../policy/index.ts';
import type { AuthenticationStage, Enforcement } from '../rollout/index.ts';
import { authorizeAny, type Clock, connectMtls, systemClock, type X509View } from '../workload/index.ts';
import { TestAuthority, TestView } from '../workload/testing.ts';
import { newCounters } from './counters.ts';
import type { InboundContext, LogLine } from './inbound/connection.ts';
import { InboundListener, type InboundOptions } from './inbound/listener.ts';
import { DEFAULT_TIMEOUTS, type Timeouts } from './settings.ts';
import type { AccessRecorder, Address, Caller, InboundRoute, ServedAccess, UnreachedCall } from './types.ts';
import { Verdicts } from './verdicts/verdicts.ts';

/** A chain as in production: a root, an intermediate, leaves. */
export const root = new TestAuthority('example.org');
export const area = root.child();
export const view = (path: string): TestView => new TestView(area.svid(path), [root.bundle()]);
export const db = view('/db');
export const web = view('/web');
export const WEB = web.state.svid.spiffeId;
export const DB = db.state.svid.spiffeId;

const opened: { close(): unknown }[] = [];

/** Has `closeAll` close it. */
export function closeLater<T extends { close(): unknown }>(one: T): T {
  opened.push(one);
  return one;
}

export async function closeAll(): Promise<void> {
  for (const one of opened.splice(0).toReversed()) await one.close();
}

/** Remembers everything that it is told. */
export class TestRecorder implements AccessRecorder {
  readonly accesses: ServedAccess[] = [];
  readonly plain: Caller[] = [];
  readonly unreachedCalls: UnreachedCall[] = [];

  record(access: ServedAccess): void {
    this.accesses.push(access);
  }

  plaintext(_workload: string, caller: Caller): void {
    this.plain.push(caller);
  }

  unreached(call: UnreachedCall): void {
    this.unreachedCalls.push(call);
  }

  /** One word for each access: what, by whom, how it ended. */
  get lines(): string[] {
    return this.accesses.map(({ action, caller: { principal }, outcome }) => {
      const what = action.kind === 'http' ? `${action.method} ${action.path}` : action.kind;
      return `${what} ${principal.kind === 'workload' ? principal.id.slice(20) : principal.from} ${outcome}`;
    });
  }
}

/** A policy for the database's workload with these rules. */
export function policy(rules: readonly Rule[], name = 'db'): AccessPolicy {
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name },
    spec: { protects: { workload: DB }, tier: 'standard', stage: 'enforced', rules, deny: [] },
  };
}

export function enforcement(
  enforced: readonly AccessPolicy[] | undefined,
  authentication: AuthenticationStage = 'strict',
  target: readonly AccessPolicy[] | undefined = enforced,
): Enforcement {
  return {
    workload: DB,
    authentication,
    stage: enforced === undefined ? 'shadow' : 'enforced',
    ...(enforced === undefined ? {} : { enforced }),
    ...(target === undefined ? {} : { target }),
  };
}

/** The program behind the proxy: a plain server, and the connections that reached it. */
export interface TestApp {
  readonly address: Address;
  readonly sockets: Socket[];
  readonly server: Server;
}

export async function startApp(onSocket: (socket: Socket) => void): Promise<TestApp> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
    onSocket(socket);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  closeLater({
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  const { port } = server.address() as { port: number };
  return { address: { host: '127.0.0.1', port }, sockets, server };
}

/** A program that answers each request head with `answer`, and remembers what it was sent. */
export async function httpApp(answer: string | ((request: string, socket: Socket) => string)) {
  const requests: string[] = [];
  const app = await startApp((socket) => {
    socket.on('data', (bytes: Buffer) => {
      const text = bytes.toString('latin1');
      requests.push(text);
      socket.write(typeof answer === 'string' ? answer : answer(text, socket), 'latin1');
    });
    socket.on('end', () => socket.end());
  });
  return { ...app, requests };
}

export interface TestInbound {
  readonly listener: InboundListener;
  readonly port: number;
  readonly verdicts: Verdicts;
  readonly recorder: TestRecorder;
  readonly log: LogLine[];
  readonly context: InboundContext;
}

/** An inbound port of the database in front of `forward`. */
export async function inbound(
  forward: Address,
  options: Partial<Omit<InboundOptions, 'route' | 'context'>> & {
    route?: Partial<InboundRoute>;
    timeouts?: Partial<Timeouts>;
    clock?: Clock;
    enforcements?: readonly Enforcement[];
    /** What rules end by, where it is not the clock. */
    now?: () => number;
  } = {},
): Promise<TestInbound> {
  const clock = options.clock ?? systemClock;
  const verdicts = new Verdicts(undefined, options.now ?? (() => clock.now()));
  verdicts.replace(options.enforcements ?? []);
  const recorder = new TestRecorder();
  const log: LogLine[] = [];
  const context: InboundContext = {
    verdicts,
    recorder,
    clock,
    timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
    counters: newCounters(),
    log: (line) => log.push(line),
  };
  const route: InboundRoute = {
    workload: DB,
    listen: { host: '127.0.0.1', port: 0 },
    forward,
    port: 5432,
    protocol: 'http',
    ...options.route,
  };
  const listener = closeLater(await InboundListener.open({ source: db, ...options, route, context }));
  return { listener, port: listener.address.port, verdicts, recorder, log, context };
}

/** Mutual TLS to a port on loopback, as `source`. */
export async function dial(port: number, source: X509View = web): Promise<TLSSocket> {
  const { socket } = await connectMtls({ host: '127.0.0.1', port }, { source, authorize: authorizeAny() });
  socket.on('error', () => {});
  closeLater({ close: () => socket.destroy() });
  return socket;
}

/** A plain connection to a port on loopback. */
export async function dialPlain(port: number, allowHalfOpen = true): Promise<Socket> {
  const socket = connectTcp({ host: '127.0.0.1', port, allowHalfOpen });
  socket.on('error', () => {});
  closeLater({ close: () => socket.destroy() });
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return socket;
}

/** Reads until what came matches, or the connection ends; gives all of it. */
export function readUntil(socket: Socket, enough: RegExp | undefined): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const finish = () => {
      socket.off('data', take).off('end', finish).off('close', finish);
      resolve(text);
    };
    const take = (bytes: Buffer) => {
      text += bytes.toString('latin1');
      if (enough?.test(text) === true) finish();
    };
    socket.on('data', take).once('end', finish).once('close', finish);
    if (socket.destroyed || socket.readableEnded) finish();
  });
}

/** Everything up to the end of the connection. */
export const readAll = (socket: Socket): Promise<string> => readUntil(socket, undefined);

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}
