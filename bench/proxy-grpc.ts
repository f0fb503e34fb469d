// gRPC unary calls through two proxies, against the same client and server without them, in one run.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import {
  Client,
  credentials,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import type { SpiffeId } from '../src/access/index.ts';
import {
  DEFAULT_TIMEOUTS,
  http2Outbound,
  http2Server,
  InboundListener,
  newCounters,
  OutboundListener,
  ProgramSessions,
  Uplinks,
  Verdicts,
} from '../src/proxy/index.ts';
import { systemClock } from '../src/workload/index.ts';
import { TestAuthority, TestView } from '../src/workload/testing.ts';

const PATH = '/bench.Echo/Unary';
const AT_ONCE = 64;
const SECONDS = 3;
const ROUNDS = 3;
const LOCAL = '127.0.0.1';
const same = (bytes: Buffer) => bytes;

async function serve(): Promise<number> {
  const server = new Server();
  const unary = {
    path: PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService(
    { Unary: unary },
    {
      Unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => done(null, call.request),
    },
  );
  return new Promise((resolve, reject) =>
    server.bindAsync(`${LOCAL}:0`, ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    ),
  );
}

/** Both proxies in one process, so that their cost is that of one core. */
async function proxies(program: number): Promise<number> {
  const authority = new TestAuthority('example.org');
  const view = (path: string) => new TestView(authority.svid(path), [authority.bundle()]);
  const [db, web] = [view('/db'), view('/web')];
  const workload = db.state.svid.spiffeId;
  const clock = systemClock;
  const timeouts = DEFAULT_TIMEOUTS;
  const verdicts = new Verdicts();
  const policy = {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'db' },
    spec: {
      protects: { workload },
      tier: 'standard',
      stage: 'enforced',
      rules: [
        {
          name: 'web',
          from: [{ workload: web.state.svid.spiffeId }],
          to: [{ grpc: { service: 'bench.Echo', methods: ['Unary'] } }],
        },
      ],
      deny: [],
    },
  } as const;
  verdicts.replace([
    { workload, authentication: 'strict', stage: 'enforced', enforced: [policy], target: [policy] },
  ]);
  const log = () => {};
  const counters = newCounters();
  const context = {
    verdicts,
    recorder: { record: () => {}, plaintext: () => {}, unreached: () => {} },
    clock,
    timeouts,
    counters,
    log,
  };
  const listen = { host: LOCAL, port: 0 };
  const far = await InboundListener.open({
    route: { workload, listen, forward: { host: LOCAL, port: program }, port: 5432, protocol: 'http' },
    source: db,
    context,
    http2: http2Server(new ProgramSessions(clock, timeouts)),
  });
  const own = web.state.svid.spiffeId;
  const uplinks = new Uplinks({ sources: new Map<SpiffeId, TestView>([[own, web]]), clock, timeouts });
  const near = await OutboundListener.open({
    route: { listen, to: far.address, peer: workload, protocol: 'http', workload: own },
    uplinks,
    clock,
    timeouts,
    counters,
    log,
    http2: http2Outbound,
  });
  return near.address.port;
}

interface Result {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
}

/** Calls for some seconds, so many at once; milliseconds. */
async function load(port: number, seconds: number): Promise<Result> {
  const client = new Client(`${LOCAL}:${port}`, credentials.createInsecure());
  const request = Buffer.alloc(100);
  const times: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  const worker = async () => {
    while (performance.now() < end) {
      const before = performance.now();
      await new Promise<void>((resolve, reject) =>
        client.makeUnaryRequest(PATH, same, same, request, (error) =>
          error === null ? resolve() : reject(error),
        ),
      );
      times.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const rate = times.length / ((performance.now() - start) / 1000);
  client.close();
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
  return { rate, p50: at(0.5), p99: at(0.99) };
}

async function child(role: string, port = 0): Promise<{ readonly port: number; stop(): void }> {
  const process = fork(fileURLToPath(import.meta.url), [role, String(port)]);
  const [message] = (await once(process, 'message')) as [number];
  return { port: message, stop: () => process.kill() };
}

async function main(): Promise<void> {
  const server = await child('server');
  const pair = await child('proxies', server.port);
  await load(server.port, 1);
  await load(pair.port, 1);
  const median = (results: readonly Result[], key: keyof Result) =>
    results.map((result) => result[key]).toSorted((a, b) => a - b)[Math.floor(results.length / 2)] ?? 0;
  const [direct, through]: [Result[], Result[]] = [[], []];
  for (let i = 0; i < ROUNDS; i++) {
    direct.push(await load(server.port, SECONDS));
    through.push(await load(pair.port, SECONDS));
  }
  for (const [name, results] of [
    ['direct', direct],
    ['through two proxies in one process', through],
  ] as const) {
    console.log(
      `${name}: ${median(results, 'rate').toFixed(0)} unary calls a second, p50 ${median(results, 'p50').toFixed(2)} ms, p99 ${median(results, 'p99').toFixed(2)} ms (${AT_ONCE} at once)`,
    );
  }
  console.log(`ratio: ${(median(through, 'rate') / median(direct, 'rate')).toFixed(2)}`);
  server.stop();
  pair.stop();
}

const [role, port] = process.argv.slice(2);
if (role === 'server') process.send?.(await serve());
else if (role === 'proxies') process.send?.(await proxies(Number(port)));
else await main();
