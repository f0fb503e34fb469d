import type { IncomingMessage } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { afterEach, describe, expect, it } from 'vitest';
import { isGrpcType } from '../../src/proxy/http2/fields.ts';
import { closeAll, enforcement, policy, until } from '../../src/proxy/proxy.test-helper.ts';
import { TestClock } from '../../src/workload/testing.ts';
import { answerOf, http1Program, http2Program } from './http2.test-helper.ts';
import { h2c, twoProxies } from './two-proxies.test-helper.ts';

afterEach(closeAll);

const speaksH2 = { inbound: { programSpeaks: 'h2' } } as const;
const denied = enforcement([policy([])]);

it('gRPC is what its content type says, with a format or a parameter behind it or neither; gRPC-Web is none', () => {
  const types = ['application/grpc', 'application/grpc+proto', 'application/grpc;charset=utf-8'];
  expect(types.map(isGrpcType)).toEqual([true, true, true]);
  const others = [
    'application/grpc-web',
    'application/grpc-web+proto',
    'application/grpcx',
    'text/plain',
    '',
    undefined,
  ];
  expect(others.map(isGrpcType)).toEqual(others.map(() => false));
});

describe('a call that policy no longer allows, and that is no gRPC', () => {
  it('is reset where its answer has begun, so that it does not look complete', async () => {
    let program: ServerHttp2Stream | undefined;
    const address = await http2Program((stream) => {
      program = stream;
      stream.on('error', () => {});
      stream.respond({ ':status': 200 });
      stream.write('part');
    });
    const { near, far } = await twoProxies(address, speaksH2);
    const call = h2c(near.port).request({ ':path': '/', ':authority': 'db' });
    const answer = answerOf(call);
    await new Promise((resolve) => call.once('data', resolve));
    far.verdicts.replace([denied]);
    far.listener.rejudge(0);
    const { status, body, code } = await answer;
    expect([status, String(body), code !== constants.NGHTTP2_NO_ERROR]).toEqual([200, 'part', true]);
    await until(() => program?.closed === true);
    expect(far.context.counters.cut).toBe(1);
  });

  it('is answered with 403 where no answer has begun', async () => {
    let asked = 0;
    const address = await http2Program(() => asked++);
    const { near, far } = await twoProxies(address, speaksH2);
    const answer = answerOf(h2c(near.port).request({ ':path': '/', ':authority': 'db' }));
    await until(() => asked === 1);
    far.verdicts.replace([denied]);
    far.listener.rejudge(0);
    expect((await answer).status).toBe(403);
  });
});

describe('a stream on which nothing is said', () => {
  const TIMEOUTS = { exchange: 120_000, tunnel: 600_000 };
  const STEP_MS = 5000;

  it('of gRPC goes on as long as a tunnel may', async () => {
    const clock = new TestClock();
    let program: ServerHttp2Stream | undefined;
    const address = await http2Program((stream) => {
      program = stream;
      stream.on('error', () => {});
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    });
    const { near } = await twoProxies(address, {
      ...speaksH2,
      clock,
      timeouts: { ...TIMEOUTS, connect: 60_000 },
    });
    const session = h2c(near.port);
    const call = session.request({
      ':method': 'POST',
      ':path': '/test.Echo/Chat',
      ':authority': 'db',
      'content-type': 'application/grpc+proto',
    });
    const answer = answerOf(call);
    await new Promise((resolve) => call.once('response', resolve));
    // In steps: connections are asked meanwhile whether they are still there, and answer.
    const passes = async (ms: number) => {
      for (let left = ms; left > 0; left -= STEP_MS) {
        clock.advance(Math.min(STEP_MS, left));
        await new Promise((resolve) => session.ping(resolve));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await passes(TIMEOUTS.tunnel - STEP_MS);
    program?.write('still here');
    expect(String(await new Promise((resolve) => call.once('data', resolve)))).toBe('still here');
    await passes(TIMEOUTS.tunnel + STEP_MS);
    expect((await answer).trailers?.['grpc-status']).toBe('14');
    await until(() => program?.closed === true);
  });

  it('of anything else ends when an exchange has had its time', async () => {
    const clock = new TestClock();
    const address = await http2Program((stream) => {
      stream.on('error', () => {});
      stream.respond({ ':status': 200 });
    });
    const { near } = await twoProxies(address, { ...speaksH2, clock, timeouts: TIMEOUTS });
    const call = h2c(near.port).request({ ':path': '/', ':authority': 'db' });
    const answer = answerOf(call);
    await new Promise((resolve) => call.once('response', resolve));
    clock.advance(TIMEOUTS.exchange + 1000);
    expect((await answer).code).not.toBe(constants.NGHTTP2_NO_ERROR);
  });
});

describe('trailers before a program that speaks HTTP/1.1', () => {
  it('are left out both ways', async () => {
    let seen: IncomingMessage | undefined;
    const address = await http1Program((request, response) => {
      seen = request;
      request.resume().on('end', () => {
        response.writeHead(200, { trailer: 'x-sum' });
        response.write('body');
        response.addTrailers({ 'x-sum': '1' });
        response.end();
      });
    });
    const { near } = await twoProxies(address);
    const call = h2c(near.port).request(
      { ':method': 'POST', ':path': '/', ':authority': 'db', trailer: 'x-digest' },
      { waitForTrailers: true },
    );
    call.on('wantTrailers', () => call.sendTrailers({ 'x-digest': '1' }));
    const answer = answerOf(call);
    call.end('asked');
    const { status, body, trailers } = await answer;
    expect([status, String(body), trailers?.['x-sum']]).toEqual([200, 'body', undefined]);
    expect(seen?.trailers).toEqual({});
  });
});
