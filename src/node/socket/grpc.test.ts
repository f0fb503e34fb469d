import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  create,
  createFileRegistry,
  fromBinary,
  type Message,
  type MessageInitShape,
} from '@bufbuild/protobuf';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import {
  Client,
  type ClientReadableStream,
  credentials,
  makeClientConstructor,
  Metadata,
  Server,
  type ServerUnaryCall,
  status,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcService, health, reflection, sds, SpiffeWorkloadAPI } from '../../proto/index.ts';
import {
  addReflection,
  assertSecurityHeader,
  CallLimit,
  type GrpcSocket,
  HealthService,
  MAX_WATCHERS_PER_TENANT,
  serveGrpc,
  SOCKET_SERVER_OPTIONS,
} from './index.ts';

const isLinux = process.platform === 'linux';
if (!isLinux) console.log('gRPC on Unix sockets is not tested: this is not Linux');
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('gRPC calls of other users are not tested: only root can start them');

const check = grpcService(health.Health).check;
const ask = (service: string) => create(health.HealthCheckRequestSchema, { service });

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function serve(prepare: (server: Server) => void, options = SOCKET_SERVER_OPTIONS) {
  const dir = mkdtempSync(join(tmpdir(), 'grpc-'));
  chmodSync(dir, 0o755);
  const server = new Server(options);
  prepare(server);
  const socket = await serveGrpc(join(dir, 'a.sock'), server, { mode: 0o777 });
  undo.push(
    () => rmSync(dir, { recursive: true, force: true }),
    () => server.forceShutdown(),
    () => socket.close(),
  );
  return { socket, server };
}

function clientOf({ path }: GrpcSocket): Client {
  const client = new Client(`unix:${path}`, credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
    'grpc.use_local_subchannel_pool': 1,
  });
  undo.push(() => client.close());
  return client;
}

function call(client: Client, request = ask('')): Promise<health.HealthCheckResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<health.HealthCheckResponse>();
  const { path, requestSerialize, responseDeserialize } = check;
  client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) =>
    answer === undefined ? reject(error ?? new Error('no answer')) : resolve(answer),
  );
  return promise;
}

/** A gRPC call with the runtime's own modules only: it runs as users who may not read the project's folder. */
const BARE_CALL = (path: string) => `
  const { connect } = require('node:http2');
  const session = connect('http://localhost', { createConnection: () => require('node:net').connect(${JSON.stringify(path)}) });
  const stream = session.request({ ':method': 'POST', ':path': '${check.path}', 'content-type': 'application/grpc', te: 'trailers' });
  stream.on('trailers', (trailers) => { console.log(trailers['grpc-status']); session.close(); });
  stream.resume();
  stream.end(Buffer.alloc(5));`;

describe.skipIf(!isLinux)('gRPC on a Unix socket', () => {
  it.skipIf(!isRoot)('tells each call who makes it', async () => {
    const seen: { uid: number; pid: number; isAlive: boolean }[] = [];
    const { socket } = await serve((server) =>
      server.addService(
        { check },
        {
          check: (
            call: ServerUnaryCall<unknown, health.HealthCheckResponse>,
            answer: (e: null, r: health.HealthCheckResponse) => void,
          ) => {
            const { credentials: peer, process: held } = socket.callerOf(call);
            seen.push({ uid: peer.uid, pid: peer.pid, isAlive: held.alive() });
            answer(null, create(health.HealthCheckResponseSchema, {}));
          },
        },
      ),
    );
    const children = [1001, 1002, 0].map((uid) => {
      const child = spawn(process.execPath, ['-e', BARE_CALL(socket.path)], { uid, gid: uid });
      return { uid, pid: child.pid ?? 0, output: once(child.stdout, 'data'), exit: once(child, 'exit') };
    });
    for (const { output } of children) expect(String((await output)[0])).toBe('0\n');
    await Promise.all(children.map(({ exit }) => exit));
    const byPid = (a: { pid: number }, b: { pid: number }) => a.pid - b.pid;
    expect(seen.toSorted(byPid)).toEqual(
      children.map(({ uid, pid }) => ({ uid, pid, isAlive: true })).toSorted(byPid),
    );
  });

  it('refuses a caller that it does not know', async () => {
    const { socket } = await serve(() => undefined);
    for (const peer of ['unknown', '', 'pid 1 connection 1', '__proto__']) {
      expect(() => socket.callerOf({ getPeer: () => peer })).toThrow("the caller's connection has closed");
    }
  });

  it('goes on when a client sends what is no HTTP/2', async () => {
    const service = new HealthService();
    service.set('', true);
    const { socket } = await serve((server) => service.addTo(server));
    for (const garbage of [
      'GET / HTTP/1.1\r\n\r\n',
      '\0'.repeat(100_000),
      `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\xff'.repeat(64)}`,
    ]) {
      const client = connect(socket.path);
      client.on('error', () => undefined).resume();
      client.write(garbage, 'latin1');
      await once(client, 'close');
    }
    expect(await call(clientOf(socket))).toMatchObject({ status: 1 });
  });

  it('refuses a message of more than 4 MiB with RESOURCE_EXHAUSTED', async () => {
    const service = new HealthService();
    service.set('', true);
    const { socket } = await serve((server) => service.addTo(server));
    await expect(call(clientOf(socket), ask('x'.repeat(4 * 1024 * 1024)))).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    });
  });

  it('refuses a request of more than 256 KiB: each call could hold that much half-sent', async () => {
    const service = new HealthService();
    service.set('', true);
    const { socket } = await serve((server) => service.addTo(server));
    await expect(call(clientOf(socket), ask('x'.repeat(256 * 1024)))).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    });
  });

  it('refuses calls beyond the share of a tenant, and takes new ones when others have ended, however they ended', async () => {
    const service = new HealthService();
    service.set('', true);
    let socket: GrpcSocket | undefined;
    const limit = new CallLimit((peer) => socket?.callerOf({ getPeer: () => peer }).tenant ?? '', 3);
    const options = { ...SOCKET_SERVER_OPTIONS, interceptors: [limit.interceptor] };
    ({ socket } = await serve((server) => service.addTo(server), options));
    const clients = [clientOf(socket), clientOf(socket)];
    const { path, requestSerialize, responseDeserialize } = grpcService(health.Health).watch;
    const watch = async (client = clients[0]) => {
      const stream = client?.makeServerStreamRequest(path, requestSerialize, responseDeserialize, ask(''));
      if (stream === undefined) throw new Error('no client');
      stream.on('error', () => undefined);
      await once(stream, 'data');
      return stream;
    };
    const [first] = [await watch(), await watch(clients[1]), await watch()];
    const tenant = `user ${process.getuid?.()}`;
    expect(limit.open(tenant)).toBe(3);
    await expect(call(clients[1] ?? clientOf(socket))).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: `${tenant} has 3 calls open already`,
    });
    first.cancel();
    await expect.poll(() => limit.open(tenant)).toBe(2);
    for (let i = 0; i < 5; i++) expect(await call(clientOf(socket))).toMatchObject({ status: 1 });
    clients[1]?.close();
    socket.callerOf = () => {
      throw new Error('gone');
    };
    expect(await call(clientOf(socket))).toMatchObject({ status: 1 });
  });

  it('lets no tenant take the watch streams of another, and gives them back', async () => {
    const service = new HealthService();
    service.set('', true);
    // Each connection stands for a tenant.
    const { socket } = await serve((server) => service.addTo(server, (peer) => peer));
    const [greedy, other] = [clientOf(socket), clientOf(socket)];
    const first = (stream: ClientReadableStream<unknown>) => {
      stream.on('error', () => undefined);
      return once(stream, 'data').then(
        () => 'watches',
        (error: { readonly code: number }) => error.code,
      );
    };
    const streams = Array.from({ length: MAX_WATCHERS_PER_TENANT }, () => watch(greedy, ''));
    expect(new Set(await Promise.all(streams.map(first)))).toEqual(new Set(['watches']));
    expect(await first(watch(greedy, ''))).toBe(status.RESOURCE_EXHAUSTED);
    expect(await first(watch(other, ''))).toBe('watches');
    streams[0]?.cancel();
    await expect.poll(() => first(watch(greedy, ''))).toBe('watches');
  });

  it('closes a connection without a call in time', async () => {
    const { socket } = await serve(() => undefined, { 'grpc.max_connection_idle_ms': 20 });
    const client = connect(socket.path).resume();
    await once(client, 'close');
    expect(client.bytesRead).toBeGreaterThan(0);
  });

  it('gives back every process that it held', async () => {
    const service = new HealthService();
    service.set('', true);
    const { socket } = await serve((server) => service.addTo(server));
    const held = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[pidfd]';
        } catch {
          return false;
        }
      }).length;
    const before = held();
    const clients = Array.from({ length: 8 }, () => clientOf(socket));
    await Promise.all(clients.map((client) => call(client)));
    expect(held()).toBe(before + 8);
    for (const client of clients.slice(0, 4)) client.close();
    await socket.close();
    expect(held()).toBe(before);
  });

  it('closes open streams when it is closed, and its socket is gone', async () => {
    const service = new HealthService();
    service.set('', true);
    const { socket } = await serve((server) => service.addTo(server));
    const stream = watch(clientOf(socket), '');
    await once(stream, 'data');
    const ended = once(stream, 'end').catch((error: unknown) => error);
    stream.on('error', () => undefined);
    await socket.close();
    await ended;
    expect(socket.connections).toBe(0);
  });
});

describe('the security header', () => {
  const metadata = (...values: string[]) => {
    const result = new Metadata();
    for (const value of values) result.add('workload.spiffe.io', value);
    return result;
  };

  it('is accepted once, with the value true', () => {
    expect(() => assertSecurityHeader(metadata('true'))).not.toThrow();
  });

  it.each([
    [[]],
    [['false']],
    [['True']],
    [['true ']],
    [['']],
    [['true', 'true']],
    [['true', 'false']],
    [['true,true']],
  ])('is refused as %j with InvalidArgument', (values) => {
    let thrown: unknown;
    try {
      assertSecurityHeader(metadata(...values));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'security header missing from request',
    });
  });
});

function watch(client: Client, service: string): ClientReadableStream<health.HealthCheckResponse> {
  const { path, requestSerialize, responseDeserialize } = grpcService(health.Health).watch;
  return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, ask(service));
}

describe.skipIf(!isLinux)('the health service', () => {
  it('answers for the server and each service, and NOT_FOUND for others', async () => {
    const service = new HealthService();
    service.set('', true);
    service.set('SpiffeWorkloadAPI', false);
    const client = clientOf((await serve((server) => service.addTo(server))).socket);
    expect(await call(client)).toMatchObject({ status: 1 });
    expect(await call(client, ask('SpiffeWorkloadAPI'))).toMatchObject({ status: 2 });
    await expect(call(client, ask('nobody'))).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it('tells who watches of each change, and of none where nothing changed', async () => {
    const service = new HealthService();
    const client = clientOf((await serve((server) => service.addTo(server))).socket);
    const stream = watch(client, 'a');
    stream.on('error', () => undefined);
    const states = stream[Symbol.asyncIterator]() as AsyncIterator<health.HealthCheckResponse>;
    const next = async () => (await states.next()).value?.status;
    expect(await next()).toBe(3);
    service.set('a', true);
    service.set('a', true);
    service.set('b', false);
    expect(await next()).toBe(1);
    service.set('a', false);
    expect(await next()).toBe(2);
    stream.cancel();
  });
});

describe.skipIf(!isLinux)('reflection', () => {
  type Question = Exclude<
    MessageInitShape<typeof reflection.ServerReflectionRequestSchema>,
    Message
  >['messageRequest'];

  async function asker(version: 'v1' | 'v1alpha') {
    const { socket } = await serve((server) =>
      addReflection(server, [SpiffeWorkloadAPI, sds.SecretDiscoveryService, health.Health]),
    );
    const { serverReflectionInfo: method } = grpcService(reflection.ServerReflection);
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const Reflection = makeClientConstructor({ info: { ...method, path } }, 'Reflection');
    const client = new Reflection(`unix:${socket.path}`, credentials.createInsecure());
    undo.push(() => client.close());
    const stream = client['info']?.() as unknown as NodeJS.ReadWriteStream &
      AsyncIterable<reflection.ServerReflectionResponse>;
    stream.on('error', () => undefined);
    const answers = stream[Symbol.asyncIterator]();
    return async (messageRequest: NonNullable<Question>) => {
      stream.write(create(reflection.ServerReflectionRequestSchema, { messageRequest }) as never);
      const { value } = (await answers.next()) as { value: reflection.ServerReflectionResponse };
      return value.messageResponse;
    };
  }

  it('ends with OK when the client has asked all that it wants', async () => {
    const { socket } = await serve((server) => addReflection(server, []));
    const { serverReflectionInfo: method } = grpcService(reflection.ServerReflection);
    const { path, requestSerialize, responseDeserialize } = method;
    const stream = clientOf(socket).makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    stream.resume();
    stream.write(
      create(reflection.ServerReflectionRequestSchema, {
        messageRequest: { case: 'listServices', value: '' },
      }),
    );
    stream.end();
    const [ended] = await once(stream, 'status');
    expect(ended).toMatchObject({ code: status.OK });
  });

  it.each(['v1', 'v1alpha'] as const)('%s lists the services and itself', async (version) => {
    const question = await asker(version);
    const answer = await question({ case: 'listServices', value: '' });
    expect(answer.case).toBe('listServicesResponse');
    if (answer.case !== 'listServicesResponse') return;
    expect(answer.value.service.map(({ name }) => name)).toEqual([
      'SpiffeWorkloadAPI',
      'envoy.service.secret.v3.SecretDiscoveryService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
    ]);
  });

  it('gives files that make up the service again, with all that they import', async () => {
    const question = await asker('v1');
    for (const symbol of ['SpiffeWorkloadAPI', 'envoy.service.secret.v3.SecretDiscoveryService']) {
      const answer = await (await asker('v1'))({ case: 'fileContainingSymbol', value: symbol });
      if (answer.case !== 'fileDescriptorResponse') throw new Error(`answered ${answer.case}`);
      const files = answer.value.fileDescriptorProto.map((bytes) =>
        fromBinary(FileDescriptorProtoSchema, bytes),
      );
      const ordered = new Set<FileDescriptorProto>();
      const visit = (file: FileDescriptorProto | undefined): void => {
        if (file === undefined || ordered.has(file)) return;
        for (const name of file.dependency) visit(files.find((other) => other.name === name));
        ordered.add(file);
      };
      visit(files[0]);
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...ordered] }));
      expect(registry.getService(symbol)?.methods.length).toBeGreaterThan(2);
    }
    const byName = await question({ case: 'fileByFilename', value: 'workload.proto' });
    expect(byName.case).toBe('fileDescriptorResponse');
  });

  it('finds methods, messages and fields, and answers a second time on the same stream', async () => {
    const question = await asker('v1');
    for (const symbol of [
      'SpiffeWorkloadAPI.FetchX509SVID',
      'X509SVIDResponse',
      'X509SVIDResponse.svids',
      'X509SVIDResponse.FederatedBundlesEntry',
      'X509SVIDResponse',
    ]) {
      const answer = await question({ case: 'fileContainingSymbol', value: symbol });
      expect(answer.case, symbol).toBe('fileDescriptorResponse');
    }
  });

  it.each([
    [{ case: 'fileContainingSymbol', value: 'Nothing' }, status.NOT_FOUND],
    [{ case: 'fileContainingSymbol', value: '' }, status.NOT_FOUND],
    [{ case: 'fileContainingSymbol', value: '__proto__.constructor' }, status.NOT_FOUND],
    [{ case: 'fileByFilename', value: '../../etc/passwd' }, status.NOT_FOUND],
    [{ case: 'allExtensionNumbersOfType', value: 'Nothing' }, status.NOT_FOUND],
    [{ case: undefined }, status.INVALID_ARGUMENT],
  ] as const)('answers %j with an error and goes on', async (request, code) => {
    const question = await asker('v1');
    const answer = await question(request);
    expect(answer).toMatchObject({ case: 'errorResponse', value: { errorCode: code } });
    expect((await question({ case: 'listServices', value: '' })).case).toBe('listServicesResponse');
  });

  it('lists the extensions of a known message', async () => {
    const question = await asker('v1');
    expect(await question({ case: 'allExtensionNumbersOfType', value: 'X509SVID' })).toMatchObject({
      case: 'allExtensionNumbersResponse',
      value: { baseTypeName: 'X509SVID', extensionNumber: [] },
    });
  });
});
