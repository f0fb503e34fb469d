import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { closeAll, enforcement, policy, startApp, until, WEB } from '../../src/proxy/proxy.test-helper.ts';
import { h2c, twoProxies } from './two-proxies.test-helper.ts';

afterEach(closeAll);

const rules = (...paths: string[]) =>
  enforcement([
    policy([{ name: 'web', from: [{ workload: WEB }], to: [{ http: { methods: ['GET'], paths } }] }]),
  ]);

/** One unmasked frame of a server (RFC 6455, section 5.2). */
function serverFrame(opcode: number, payload: Buffer): Buffer {
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, payload.length])
      : Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([head, payload]);
}

/** A program that speaks WebSocket: it sends back what it is sent. */
async function echoProgram(onClose: () => void = () => {}) {
  const requests: string[] = [];
  const app = await startApp((socket: Socket) => {
    let bytes = Buffer.alloc(0);
    let isOpen = false;
    socket.on('close', onClose);
    socket.on('end', () => socket.end());
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!isOpen) {
        const end = bytes.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = bytes.toString('latin1', 0, end);
        requests.push(head);
        const key = /sec-websocket-key: *(\S+)/i.exec(head)?.[1] ?? '';
        const accept = createHash('sha1')
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        );
        isOpen = true;
        bytes = bytes.subarray(end + 4);
      }
      for (;;) {
        let length = (bytes[1] ?? 0) & 0x7f;
        let at = 2;
        if (length === 126) [length, at] = [bytes.length < 4 ? 70_000 : bytes.readUInt16BE(2), 4];
        if (bytes.length < at + 4 + length) return;
        const mask = bytes.subarray(at, at + 4);
        const payload = Buffer.from(
          bytes.subarray(at + 4, at + 4 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0)),
        );
        socket.write(serverFrame((bytes[0] ?? 0) & 15, payload));
        if (((bytes[0] ?? 0) & 15) === 8) socket.end();
        bytes = bytes.subarray(at + 4 + length);
      }
    });
  });
  return { ...app, requests };
}

/** Node's own client. */
function client(port: number, path = '/chat') {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  socket.binaryType = 'arraybuffer';
  const received: unknown[] = [];
  socket.addEventListener('message', ({ data }) => received.push(data));
  const opened = new Promise<boolean>((resolve) => {
    socket.addEventListener('open', () => resolve(true));
    socket.addEventListener('error', () => resolve(false));
  });
  const closed = new Promise<number>((resolve) =>
    socket.addEventListener('close', ({ code }) => resolve(code)),
  );
  return { socket, received, opened, closed };
}

describe('WebSocket through two proxies', () => {
  it('carries messages both ways, and an orderly end', async () => {
    let closed = 0;
    const app = await echoProgram(() => closed++);
    const { near, far } = await twoProxies(app.address, { enforcements: [rules('/chat')] });
    const one = client(near.port);
    expect(await one.opened).toBe(true);
    const large = randomBytes(60_000);
    one.socket.send('hello');
    one.socket.send(large);
    await until(() => one.received.length === 2);
    expect(one.received[0]).toBe('hello');
    expect(Buffer.from(one.received[1] as ArrayBuffer).equals(large)).toBe(true);
    one.socket.close(1000, 'done');
    expect(await one.closed).toBe(1000);
    await until(() => closed === 1 && far.context.counters.open === 0);
    expect(app.requests[0]).toMatch(/^GET \/chat HTTP\/1\.1\r\n/);
    expect(app.requests[0]).toContain(`URI=${WEB}`);
    expect(far.recorder.lines).toEqual(['GET /chat /web ok']);
  });

  it('is refused before the program is asked', async () => {
    const app = await echoProgram();
    const { near, far } = await twoProxies(app.address, { enforcements: [rules('/other')] });
    const one = client(near.port);
    expect(await one.opened).toBe(false);
    expect(app.requests).toEqual([]);
    expect(far.recorder.lines).toEqual(['GET /chat /web denied']);
  });

  it('is cut when policy no longer allows it, and only then', async () => {
    let closed = 0;
    const app = await echoProgram(() => closed++);
    const { near, far } = await twoProxies(app.address, { enforcements: [rules('/chat', '/news')] });
    const [chat, news] = [client(near.port, '/chat'), client(near.port, '/news')];
    expect(await Promise.all([chat.opened, news.opened])).toEqual([true, true]);
    far.verdicts.replace([rules('/news')]);
    expect(far.listener.rejudge(0)).toBe(1);
    // 1006: the connection broke (RFC 6455 section 7.1.5).
    expect(await chat.closed).toBe(1006);
    await until(() => closed === 1);
    news.socket.send('still here');
    await until(() => news.received.length === 1);
    expect(far.context.counters.cut).toBe(1);
    news.socket.close();
    await news.closed;
  });

  it('in HTTP/2 is not offered: a client goes on in HTTP/1.1', async () => {
    const app = await echoProgram();
    const { near } = await twoProxies(app.address);
    const session = h2c(near.port);
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    expect(session.remoteSettings.enableConnectProtocol).not.toBe(true);
  });
});
