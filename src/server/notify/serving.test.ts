import { createHmac } from 'node:crypto';
import { EventEmitter, on, once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NOTICE_TYPES } from '../../api/index.ts';
import { type Browser, type TestHttp, testHttp } from '../http/testing.test-helper.ts';
import { newSecret, secretBytes } from './sign.ts';

interface Arrived {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const SECRET = newSecret();
const came = new EventEmitter();
let server: Server;
let plane: TestHttp;
let operator: Browser;
beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    response.end('ok');
    came.emit('message', { path: request.url ?? '', headers: request.headers, body } satisfies Arrived);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const origin = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const common = { on: new Set(NOTICE_TYPES), only: {}, allowPrivate: true };
  plane = await testHttp(
    { metricsToken: 'a token of scrapers' },
    {
      notify: {
        channels: [
          {
            ...common,
            name: 'ops',
            kind: 'webhook',
            url: new URL(`${origin}/ops-is-secret`),
            secrets: [secretBytes(SECRET) ?? Buffer.alloc(0)],
          },
          { ...common, name: 'chat', kind: 'slack', url: new URL(`${origin}/chat-is-secret`), secrets: [] },
        ],
      },
    },
  );
  operator = await plane.signedIn();
});
afterAll(async () => {
  expect(plane.faults).toEqual([]);
  await plane.close();
  await new Promise((closed) => server.close(closed));
});

/** The next messages, until both channels have one that fits. */
async function both(act: () => Promise<unknown>): Promise<{ ops: Arrived; chat: Arrived }> {
  const found = new Map<string, Arrived>();
  const messages = on(came, 'message');
  await act();
  for await (const [message] of messages) {
    const arrived = message as Arrived; // What is emitted above.
    found.set(arrived.path, arrived);
    const [ops, chat] = [found.get('/ops-is-secret'), found.get('/chat-is-secret')];
    if (ops !== undefined && chat !== undefined) return { ops, chat };
  }
  throw new Error('nothing more comes');
}

describe('a release', () => {
  test('reaches a webhook, signed, and Slack, with a link to the console', async () => {
    const reason = '<!channel> https://evil.example is down';
    const { ops, chat } = await both(() => operator.post('/v1/releases', { scope: { kind: 'all' }, reason }));
    const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = ops.headers;
    const expected = createHmac('sha256', Buffer.from(SECRET.slice('whsec_'.length), 'base64'))
      .update(`${String(id)}.${String(at)}.${ops.body}`)
      .digest('base64');
    expect(signature).toBe(`v1,${expected}`);
    expect(JSON.parse(ops.body)).toMatchObject({
      id,
      type: 'release',
      subject: 'everything',
      summary: expect.stringMatching(/^enforcement is released for everything by link:[0-9a-f]+: <!channel>/),
      link: `${plane.origin}/release`,
    });
    expect(chat.body).not.toContain('<!channel>');
    expect(chat.body).not.toContain('https://evil.example');
    expect(chat.body).toContain(`<${plane.origin}/release|`);
  });

  test('that is armed is told too, and both are counted', async () => {
    await both(() => operator.post('/v1/releases/arm', {}));
    const answer = await fetch(`${plane.origin}/metrics`, {
      headers: { authorization: 'Bearer a token of scrapers' },
    });
    const text = await answer.text();
    expect(text).toContain('interlock_notifications_total{channel="ops",outcome="sent"}');
    expect(text).toContain('interlock_notifications_waiting{channel="chat"}');
  });
});

test('a test is sent at once, and what is known of the channels holds no address and no secret', async () => {
  const answer = await operator.ask('/v1/notifications/ops/test', {
    method: 'POST',
    headers: { origin: plane.origin },
  });
  expect(await answer.json()).toEqual({ channel: 'ops', isDelivered: true });
  const listed = await (await operator.ask('/v1/notifications')).text();
  expect(JSON.parse(listed)).toMatchObject({
    channels: [
      { name: 'ops', host: '127.0.0.1', failures: 0, dropped: 0 },
      { name: 'chat', kind: 'slack' },
    ],
  });
  const audit = await (await operator.ask('/v1/audit?act=notification.*')).text();
  expect(audit).toContain('"notification.test"');
  for (const text of [listed, audit, plane.warnings.join()]) expect(text).not.toMatch(/-is-secret|whsec_/);
});
