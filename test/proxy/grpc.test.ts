import { randomBytes } from 'node:crypto';
import {
  type ClientDuplexStream,
  Metadata,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
  type StatusObject,
} from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { closeAll, DB, enforcement, policy, until, WEB } from '../../src/proxy/proxy.test-helper.ts';
import { ECHO, grpcClient, grpcProgram, SAME, unary } from './grpc.test-helper.ts';
import { twoProxies } from './two-proxies.test-helper.ts';

afterEach(closeAll);

type UnaryCall = ServerUnaryCall<Buffer, Buffer>;
type Chat = ServerDuplexStream<Buffer, Buffer>;
type ClientChat = ClientDuplexStream<Buffer, Buffer>;

const echo = (call: UnaryCall, done: sendUnaryData<Buffer>) => done(null, call.request);
const chatBack = (call: Chat) => {
  call.on('data', (bytes: Buffer) => call.write(bytes));
  call.on('end', () => call.end());
  call.on('error', () => {});
};
const allowing = (...methods: string[]) =>
  enforcement([
    policy([{ name: 'web', from: [{ workload: WEB }], to: [{ grpc: { service: 'test.Echo', methods } }] }]),
  ]);

/** How a call ended, with all that came. */
function ended(
  call: ClientChat,
): Promise<{ readonly status: StatusObject; readonly chunks: readonly Buffer[] }> {
  const chunks: Buffer[] = [];
  call.on('data', (bytes: Buffer) => chunks.push(bytes));
  call.on('error', () => {});
  return new Promise((resolve) => call.on('status', (status: StatusObject) => resolve({ status, chunks })));
}

describe('gRPC through two proxies', () => {
  it('carries a unary call with its metadata and trailers', async () => {
    let seen: Metadata | undefined;
    const { address } = await grpcProgram({
      Unary: (call: UnaryCall, done: sendUnaryData<Buffer>) => {
        seen = call.metadata;
        const head = new Metadata();
        head.set('x-head', 'yes');
        head.set('x-head-bin', Buffer.from([0, 255, 10, 13]));
        call.sendMetadata(head);
        const trailers = new Metadata();
        trailers.add('x-tail-bin', Buffer.from([1, 2]));
        trailers.add('x-tail', 'a');
        trailers.add('x-tail', 'b');
        done(null, Buffer.concat([call.request, Buffer.from('!')]), trailers);
      },
    });
    const { near, far } = await twoProxies(address);
    const metadata = new Metadata();
    metadata.set('x-own-bin', Buffer.from([0, 128, 255]));
    metadata.set('x-forwarded-client-cert', 'URI=spiffe://evil');
    const answer = await unary(grpcClient(near.port), Buffer.from('hello'), { metadata });
    expect(answer).toMatchObject({ code: status.OK, value: Buffer.from('hello!') });
    expect(answer.metadata?.get('x-head')).toEqual(['yes']);
    expect(answer.metadata?.get('x-head-bin')).toEqual([Buffer.from([0, 255, 10, 13])]);
    expect(answer.trailers?.get('x-tail-bin')).toEqual([Buffer.from([1, 2])]);
    expect(answer.trailers?.get('x-tail').join(',').replaceAll(' ', '')).toBe('a,b');
    expect(seen?.get('x-own-bin')).toEqual([Buffer.from([0, 128, 255])]);
    expect(seen?.get('x-forwarded-client-cert')).toEqual([`By=${DB};URI=${WEB}`]);
    expect(far.recorder.accesses).toMatchObject([
      { action: { kind: 'grpc', service: 'test.Echo', method: 'Unary' }, outcome: 'ok' },
    ]);
  });

  it('carries streams of the client, of the server, and of both', async () => {
    const { address } = await grpcProgram({
      Collect: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const parts: Buffer[] = [];
        call.on('data', (bytes: Buffer) => parts.push(bytes));
        call.on('end', () => done(null, Buffer.concat(parts)));
      },
      Spread: (call: ServerWritableStream<Buffer, Buffer>) => {
        for (const byte of call.request) call.write(Buffer.from([byte]));
        call.end();
      },
      Chat: chatBack,
    });
    const { near, far } = await twoProxies(address);
    const client = grpcClient(near.port);
    const collected = new Promise<Buffer | undefined>((resolve) => {
      const call = client.makeClientStreamRequest(ECHO.Collect.path, SAME, SAME, (_, value?: Buffer) =>
        resolve(value),
      );
      for (const text of ['a', '', 'bc']) call.write(Buffer.from(text));
      call.end();
    });
    expect(await collected).toEqual(Buffer.from('abc'));
    const spread = client.makeServerStreamRequest(ECHO.Spread.path, SAME, SAME, Buffer.from('xyz'));
    const letters: string[] = [];
    for await (const letter of spread) letters.push(String(letter));
    expect(letters).toEqual(['x', 'y', 'z']);
    const chat: ClientChat = client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME);
    const chatted = ended(chat);
    // One after the other: each answer comes before the next question, so nothing waits for an end.
    chat.write(Buffer.from('one'));
    await new Promise((resolve) => chat.once('data', resolve));
    chat.write(Buffer.from('two'));
    await new Promise((resolve) => chat.once('data', resolve));
    chat.end();
    expect(await chatted).toMatchObject({ status: { code: status.OK } });
    expect(far.recorder.accesses.map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok']);
  });

  it('passes on what a program says is wrong, and records it as an error of the program', async () => {
    const { address } = await grpcProgram({
      Unary: (_: UnaryCall, done: sendUnaryData<Buffer>) =>
        done({ code: status.NOT_FOUND, details: 'no such thing: ü%' }),
    });
    const { near, far } = await twoProxies(address);
    const client = grpcClient(near.port);
    expect(await unary(client, Buffer.from('x'))).toMatchObject({
      code: status.NOT_FOUND,
      details: 'no such thing: ü%',
    });
    expect(await unary(client, Buffer.from('x'), { path: '/test.Echo/None' })).toMatchObject({
      code: status.UNIMPLEMENTED,
    });
    expect(far.recorder.accesses.map(({ outcome }) => outcome)).toEqual(['error', 'error']);
  });

  it('denies a method with PERMISSION_DENIED and nothing more, and the others of the connection go on', async () => {
    const { address } = await grpcProgram({ Unary: echo, Chat: chatBack });
    const { near, far } = await twoProxies(address, { enforcements: [allowing('Unary')] });
    const client = grpcClient(near.port);
    expect(await unary(client, Buffer.from('x'))).toMatchObject({ code: status.OK });
    const call: ClientChat = client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME);
    const refused = ended(call);
    call.write(Buffer.alloc(100_000));
    const told = (await refused).status;
    expect(told).toMatchObject({ code: status.PERMISSION_DENIED, details: 'access denied' });
    expect(told.metadata.getMap()).toEqual({ 'content-type': 'application/grpc' });
    expect(await unary(client, Buffer.from('y'))).toMatchObject({ code: status.OK });
    expect(far.recorder.accesses.map(({ action, outcome }) => [action, outcome])).toEqual([
      [{ kind: 'grpc', port: 5432, service: 'test.Echo', method: 'Unary' }, 'ok'],
      [{ kind: 'grpc', port: 5432, service: 'test.Echo', method: 'Chat' }, 'denied'],
      [{ kind: 'grpc', port: 5432, service: 'test.Echo', method: 'Unary' }, 'ok'],
    ]);
    expect(far.log).toMatchObject([{ event: 'denied', reason: 'no-rule' }]);
    expect(far.context.counters.open).toBe(1);
  });

  it('takes deadlines and cancellations to the program', async () => {
    let cancelled = 0;
    const { address } = await grpcProgram({
      Unary: (call: UnaryCall) => call.on('cancelled', () => cancelled++),
      Chat: (call: Chat) => {
        call.on('error', () => {});
        call.on('cancelled', () => cancelled++);
        call.write(Buffer.from('first'));
      },
    });
    const { near, far } = await twoProxies(address);
    const client = grpcClient(near.port);
    expect(await unary(client, Buffer.from('x'), { deadline: Date.now() + 100 })).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
    const call: ClientChat = client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME);
    const over = ended(call);
    await new Promise((resolve) => call.once('data', resolve));
    call.cancel();
    expect((await over).status.code).toBe(status.CANCELLED);
    await until(() => cancelled === 2 && far.recorder.accesses.length === 2);
    // Without an answer it is an error; a stream that was answered is ended by whoever asked for it.
    expect(far.recorder.accesses.map(({ outcome }) => outcome)).toEqual(['error', 'ok']);
  });

  it('carries messages of 16 MB both ways', async () => {
    const { address } = await grpcProgram({ Unary: echo });
    const { near } = await twoProxies(address);
    const large = randomBytes(16 * 1024 * 1024);
    const { code, value } = await unary(grpcClient(near.port), large);
    expect(code).toBe(status.OK);
    expect(value?.equals(large)).toBe(true);
  });

  it('carries 1,000 streams at once, over few connections', async () => {
    const calls: Chat[] = [];
    const { address } = await grpcProgram({ Chat: (call: Chat) => calls.push(call) && chatBack(call) });
    const { near, far } = await twoProxies(address);
    const client = grpcClient(near.port);
    const streams = Array.from(
      { length: 1000 },
      (): ClientChat => client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME),
    );
    const all = streams.map((stream) => ended(stream));
    for (const stream of streams) stream.write(Buffer.from('in'));
    await until(() => calls.length === 1000);
    for (const stream of streams) stream.end(Buffer.from('out'));
    const results = await Promise.all(all);
    expect(
      results.every(
        ({ status: { code }, chunks }) => code === status.OK && String(Buffer.concat(chunks)) === 'inout',
      ),
    ).toBe(true);
    expect(far.context.counters.accepted).toBeLessThanOrEqual(2);
    await until(() => far.recorder.accesses.length === 1000);
  });

  it('says UNAVAILABLE where the program is not there, or dies in the middle', async () => {
    let inside: Chat | undefined;
    const { address, server } = await grpcProgram({
      Chat: (call: Chat) => {
        inside = call;
        call.on('error', () => {});
        call.write(Buffer.from('first'));
      },
    });
    const { near, far } = await twoProxies(address);
    const client = grpcClient(near.port);
    const call: ClientChat = client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME);
    const over = ended(call);
    await new Promise((resolve) => call.once('data', resolve));
    expect(inside).toBeDefined();
    server.forceShutdown();
    expect((await over).status.code).toBe(status.UNAVAILABLE);
    expect(await unary(client, Buffer.from('x'))).toMatchObject({
      code: status.UNAVAILABLE,
      details: 'service unavailable',
    });
    expect(far.recorder.accesses.map(({ outcome }) => outcome)).toEqual(['error', 'failed']);
  });

  it('cuts a stream that policy no longer allows with PERMISSION_DENIED, and no other', async () => {
    let gone = 0;
    const { address } = await grpcProgram({
      Chat: (call: Chat) => {
        chatBack(call);
        call.on('cancelled', () => gone++);
      },
      Collect: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        call.on('data', () => {});
        call.on('end', () => done(null, Buffer.from('whole')));
      },
    });
    const { near, far } = await twoProxies(address, { enforcements: [allowing('Chat', 'Collect')] });
    const client = grpcClient(near.port);
    const chat: ClientChat = client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME);
    const over = ended(chat);
    chat.write(Buffer.from('hello'));
    await new Promise((resolve) => chat.once('data', resolve));
    const collected = new Promise((resolve) => {
      const call = client.makeClientStreamRequest(ECHO.Collect.path, SAME, SAME, (error, value) =>
        resolve(error ?? value),
      );
      call.write(Buffer.from('part'));
      chat.once('status', () => call.end());
    });
    await until(() => far.recorder.accesses.length === 0 && far.listener.size === 1);
    far.verdicts.replace([allowing('Collect')]);
    far.listener.rejudge(0);
    expect((await over).status).toMatchObject({ code: status.PERMISSION_DENIED, details: 'access denied' });
    expect(await collected).toEqual(Buffer.from('whole'));
    await until(() => gone === 1);
    expect(far.context.counters.cut).toBe(1);
  });

  it('brings the bytes that were sent, however they are cut', async () => {
    const { address } = await grpcProgram({ Chat: chatBack });
    const { near } = await twoProxies(address);
    const client = grpcClient(near.port);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(300_000), { maxLength: 8 }), async (lengths) => {
        const messages = lengths.map((length) => randomBytes(length));
        const call: ClientChat = client.makeBidiStreamRequest(ECHO.Chat.path, SAME, SAME);
        const over = ended(call);
        for (const message of messages) call.write(message);
        call.end();
        const { chunks, status } = await over;
        expect(status.code).toBe(0);
        expect(chunks.map(({ length }) => length)).toEqual(lengths);
        expect(Buffer.concat(chunks).equals(Buffer.concat(messages))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('answers what came before draining, and what comes after through another connection', async () => {
    let finish: (() => void) | undefined;
    const { address } = await grpcProgram({
      Unary: (call: UnaryCall, done: sendUnaryData<Buffer>) => {
        if (String(call.request) === 'slow') finish = () => done(null, Buffer.from('late'));
        else done(null, call.request);
      },
    });
    const { near, far } = await twoProxies(address);
    const client = grpcClient(near.port);
    const slow = unary(client, Buffer.from('slow'));
    await until(() => finish !== undefined);
    const drained = far.listener.drain(60_000);
    // A call in the same moment: it is served, or refused so that it can be tried again; never lost.
    const during = await unary(client, Buffer.from('now'));
    expect([status.OK, status.UNAVAILABLE]).toContain(during.code);
    finish?.();
    expect(await slow).toMatchObject({ code: status.OK, value: Buffer.from('late') });
    await drained;
    expect(far.listener.size).toBe(0);
  });
});
