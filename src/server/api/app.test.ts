import { once } from 'node:events';
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerOptions,
} from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { pathOf } from '../../api/index.ts';
import { POLICIES } from '../estate/estate.test-helper.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { apiApp } from './app.ts';
import { Events } from './events.ts';
import { SERVER_LIMITS } from './limits.ts';
import { LOCAL, OPERATOR, type TestApi, testApi, VIEWER } from './testing.test-helper.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const CART = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const post = (path: string, body: unknown, headers = {}) =>
  api.ask(OPERATOR, 'POST', path, { body: JSON.stringify(body), headers });
const apply = (yaml: string) => post('/v1/policies', { yaml });

describe('a call', () => {
  test.each([
    ['GET', '/v1/points?limit=0', undefined, 400, 'limit'],
    ['GET', '/v1/points?limit=10001', undefined, 400, 'limit'],
    ['GET', '/v1/points?limit=5&limit=6', undefined, 400, 'limit'],
    ['GET', '/v1/points?nonsense=1', undefined, 400, 'query'],
    ['GET', '/v1/points?after=%2F%2F', undefined, 400, 'after'],
    ['GET', '/v1/points?__proto__=1', undefined, 400, 'query'],
    ['GET', '/v1/bundle?x=1', undefined, 400, 'x'],
    ['GET', '/v1/rollouts/spiffe%3A%2F%2Fexample.org%2Fx', undefined, 400, 'workload'],
    ['GET', '/v1/rollouts/example.org%2Fns%2Fshop%2F..%2Fx', undefined, 400, 'workload'],
    ['GET', '/v1/rollouts/example.org%2Fnone', undefined, 404, 'spiffe://example.org/none'],
    ['GET', '/v1/rollouts/%ff', undefined, 400, 'workload'],
    ['GET', '/v1/nothing', undefined, 404, '/v1/nothing'],
    ['PATCH', '/v1/rules', '{}', 404, '/v1/rules'],
    ['POST', '/v1/policies', '{"yaml": 1}', 400, 'yaml'],
    ['POST', '/v1/policies', '{"yaml": ""', 400, 'body'],
    ['POST', '/v1/policies', '[]', 400, 'body'],
    ['POST', '/v1/policies', '\u{feff}{}', 400, 'yaml'],
    ['POST', '/v1/releases', '{"scope": {"kind": "all"}, "reason": " "}', 400, 'reason'],
    [
      'POST',
      '/v1/releases',
      '{"scope": {"kind": "workload", "workload": "x"}, "reason": "r"}',
      400,
      'scope.workload',
    ],
    ['DELETE', '/v1/rules/x', '{}', 400, 'body'],
  ])('%s %s %s is answered with %i and the field', async (method, path, body, status, subject) => {
    const answer = await api.ask(LOCAL, method, path, { body });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json']);
    expect(await answer.json()).toMatchObject({ status, subject });
    expect(api.faults).toEqual([]);
  });

  test('with a body that is nested too deep is refused before it is parsed, whatever stands in its texts', async () => {
    const nested = (depth: number) => `{"pem": ${'['.repeat(depth)}${']'.repeat(depth)}}`;
    const text = `{"pem": "${'[{'.repeat(5000)}\\"${'['.repeat(5000)}"}`;
    const statuses = [];
    for (const body of [nested(100_000), nested(64), nested(63), text])
      statuses.push((await api.ask(LOCAL, 'POST', '/v1/identities/verify', { body })).status);
    // The last one holds no certificate.
    expect(statuses).toEqual([413, 413, 400, 404]);
  });

  test('with a body of another type is refused; none at all is an empty object', async () => {
    const typed = (type: string) =>
      api.ask(LOCAL, 'POST', '/v1/authorities/prepare', {
        body: '{"nme": 1}',
        headers: { 'content-type': type },
      });
    expect(await (await typed('text/plain')).json()).toMatchObject({ subject: 'content-type' });
    expect(await (await typed('application/json; charset=utf-8')).json()).toMatchObject({ subject: 'body' });
    const none = await api.ask(LOCAL, 'POST', '/v1/releases/arm');
    expect([none.status, await none.json()]).toMatchObject([200, { ended: [] }]);
  });

  test('that fails by a fault of the program says nothing of it, and is reported', async () => {
    const { plane } = api.serving.api;
    const broken = await testApi(
      {},
      {
        plane: { ...plane, store: { ...plane.store, joinTokens: () => Promise.reject(new Error('secret')) } },
      },
    );
    const answer = await broken.ask(LOCAL, 'GET', '/v1/join-tokens');
    const problem = await answer.json();
    expect(problem).toMatchObject({ status: 500, code: 'fault' });
    expect(JSON.stringify(problem)).not.toContain('secret');
    expect(broken.faults).toHaveLength(1);
    await broken.close();
  });
});

describe('an answer', () => {
  test('that has not changed is not sent again', async () => {
    const first = await api.ask(VIEWER, 'GET', '/v1/revocations');
    const tag = first.headers.get('etag') ?? '';
    expect(tag).toMatch(/^W\/"/);
    const again = await api.ask(VIEWER, 'GET', '/v1/revocations', {
      headers: { 'if-none-match': `"x", ${tag}` },
    });
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', tag]);
    const other = await api.ask(VIEWER, 'GET', '/v1/revocations', { headers: { 'if-none-match': '"x"' } });
    expect(other.status).toBe(200);
    expect(other.headers.get('cache-control')).toBe('private, no-cache');
  });

  test('of a long list comes in pages, each with a link to the next', async () => {
    const rules = Array.from({ length: 5 }, (_, i) => ({
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'IdentityRule',
      metadata: { name: `r${i}` },
      spec: { spiffeId: `/r/${i}`, selectors: [`unix:uid:${i}`] },
    }));
    expect((await post('/v1/rules', { rules })).status).toBe(200);
    const seen: string[] = [];
    let path: string | undefined = '/v1/rules?limit=2';
    for (let pages = 0; path !== undefined; pages++) {
      const answer: Response = await api.ask(VIEWER, 'GET', path);
      const body = (await answer.json()) as { rules: { metadata: { name: string } }[]; next?: string };
      seen.push(...body.rules.map(({ metadata }) => metadata.name));
      path = /^<(.*)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
      expect(path === undefined).toBe(body.next === undefined);
      expect(pages).toBeLessThan(4);
    }
    expect(seen).toEqual(['r0', 'r1', 'r2', 'r3', 'r4']);
  });
});

describe('a change of a document', () => {
  test('is made only on the version that it was decided on', async () => {
    await apply(POLICIES.cart);
    const path = pathOf('rollouts.get', { workload: CART });
    const first = await api.ask(VIEWER, 'GET', path);
    const tag = first.headers.get('etag') ?? '';
    const { version } = (await first.json()) as { version: string };
    expect(tag).toBe(`"${version}"`);
    const move = (to: string, ifMatch?: string) =>
      api.ask(OPERATOR, 'POST', `${path}/move`, {
        body: JSON.stringify({ to }),
        headers: ifMatch === undefined ? {} : { 'if-match': ifMatch },
      });
    // Both decided on the same version: one of them is late.
    const both = await Promise.all([move('shadow', tag), move('shadow', tag)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412]);
    const late = both.find(({ status }) => status === 412);
    expect(await late?.json()).toMatchObject({ status: 412, code: 'conflict', subject: CART });
    expect((await move('draft', `W/${tag}`)).status).toBe(412);
    expect((await move('draft', 'nonsense')).status).toBe(400);
    expect((await move('enforced')).status).toBe(409);
    const second = await api.ask(VIEWER, 'GET', path);
    expect((await move('draft', `"x", ${second.headers.get('etag')}`)).status).toBe(200);
  });

  test('of the rules likewise', async () => {
    const { version } = (await (await api.ask(VIEWER, 'GET', '/v1/rules')).json()) as { version: number };
    const remove = (ifMatch: string) =>
      api.ask(OPERATOR, 'DELETE', '/v1/rules/none', { headers: { 'if-match': ifMatch } });
    expect([(await remove(`"${version + 1}"`)).status, (await remove(`"${version}"`)).status]).toEqual([
      412, 404,
    ]);
  });

  test('that has no version refuses to be made on one', async () => {
    const headers = { 'if-match': '"1"' };
    const answer = await api.ask(LOCAL, 'POST', '/v1/releases/arm', { body: '{}', headers });
    expect([answer.status, await answer.json()]).toMatchObject([400, { subject: 'if-match' }]);
  });
});

describe('over a socket', () => {
  const servers: Server[] = [];
  afterAll(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function send(
    limits: ServerOptions,
    headers: Readonly<Record<string, string>>,
    write: (sent: ClientRequest) => void,
  ): Promise<number | string> {
    const server = createServer(limits, getRequestListener(api.app.fetch));
    servers.push(server);
    const opened = Promise.withResolvers<void>();
    server.listen(0, '127.0.0.1', opened.resolve);
    await opened.promise;
    // The last caller of `ask` is who calls here.
    await api.ask(OPERATOR, 'GET', '/v1/me');
    const { port } = server.address() as AddressInfo;
    return new Promise((resolve) => {
      const sent = request({ port, host: '127.0.0.1', method: 'POST', path: '/v1/policies', headers });
      sent.on('response', (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      sent.on('error', ({ message }) => resolve(message));
      write(sent);
    });
  }
  const json = { 'content-type': 'application/json' };

  test('a body that does not end is cut off', async () => {
    // The same limits, sooner.
    const limits = {
      ...SERVER_LIMITS,
      headersTimeout: 100,
      requestTimeout: 200,
      connectionsCheckingInterval: 20,
    };
    const answer = await send(limits, { ...json, 'content-length': '100' }, (sent) => sent.write('{'));
    expect([408, 'socket hang up']).toContain(answer);
  });

  test('a body that is too long is refused by what it says, and by what it is', async () => {
    const said = { ...json, 'content-length': String(2 ** 30) };
    expect(await send(SERVER_LIMITS, said, (sent) => sent.write('{'))).toBe(413);
    const chunk = Buffer.alloc(1024 * 1024, 0x20);
    const answer = await send(SERVER_LIMITS, json, (sent) => {
      for (let i = 0; i < 17; i++) sent.write(chunk);
      sent.end();
    });
    // Who still sends may find the connection closed before it reads the answer.
    expect([413, 'write EPIPE', 'read ECONNRESET', 'write ECONNRESET', 'socket hang up']).toContain(answer);
  });

  test('a stream of events whose reader takes nothing is let go with its connection', async () => {
    const timers = new ManualTimers();
    const own = await testApi();
    const events = new Events(timers);
    const app = apiApp({ ...own.serving.api, events }, () => VIEWER);
    const server = createServer(getRequestListener(app.fetch));
    const path = join(own.state, 'stuck.sock');
    server.listen(path);
    await once(server, 'listening');
    const stuck = connect(path);
    stuck.pause();
    stuck.on('error', () => {});
    stuck.write('GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n');
    await vi.waitFor(() => expect(events.streams).toBe(1));
    const connections = () =>
      new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
    expect(await connections()).toBe(1);
    // As much as the kernel takes, and then as much as is kept.
    for (let i = 0; events.streams === 1 && i < 1000; i++) {
      events.publish('rollout', 'x'.repeat(10_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(events.streams).toBe(0);
    const said = vi.spyOn(console, 'error').mockReturnValue();
    await timers.advance(15_000);
    try {
      await vi.waitFor(async () => expect(await connections()).toBe(0));
    } finally {
      said.mockRestore();
      stuck.destroy();
      server.close();
      await own.close();
    }
  });

  test('a stream of events ends with its reader, and keeps no control plane from ending', async () => {
    const own = await testApi();
    const { events } = own.serving.api;
    const open = async () => {
      const call = request({ socketPath: join(own.state, 'api.sock'), path: '/v1/events' });
      call.on('error', () => {});
      call.end();
      const [response] = (await once(call, 'response')) as [IncomingMessage];
      await once(response, 'data');
      return response;
    };
    const [first, second] = [await open(), await open()];
    expect([first.headers['content-type'], events.streams]).toEqual(['text/event-stream', 2]);
    first.destroy();
    await vi.waitFor(() => expect(events.streams).toBe(1));
    let told = '';
    second.on('data', (chunk: Buffer) => (told += String(chunk)));
    await own.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml: POLICIES.cart }) });
    // What is told in one moment may come in several parts.
    await vi.waitFor(() => expect(told).toContain(`"type":"rollout","id":"${CART}"`), { timeout: 60_000 });
    const ended = once(second, 'end');
    second.resume();
    await own.close();
    await ended;
  });
});

describe('the audit log', () => {
  test('is searched in large parts, however small the page is', async () => {
    for (const name of ['one', 'two', 'three']) {
      const scope = { kind: 'policy', policy: name };
      await api.ask(LOCAL, 'POST', '/v1/releases', { body: JSON.stringify({ scope, reason: 'a try' }) });
    }
    const read = vi.spyOn(api.serving.api.plane.store, 'audit');
    const answer = await api.ask(VIEWER, 'GET', '/v1/audit?limit=1&act=never');
    expect(await answer.json()).toEqual({ entries: [] });
    expect(read).toHaveBeenCalledTimes(1);
    read.mockRestore();
  });

  test('is verified once at a time, whoever asks and however often', async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const verify = vi.spyOn(api.serving.api.plane.store, 'verifyAudit').mockReturnValue(promise);
    const same = Array.from({ length: 10 }, () => api.ask(VIEWER, 'GET', '/v1/audit/verify'));
    const other = await api.ask(VIEWER, 'GET', '/v1/audit/verify?from=2');
    expect([other.status, verify.mock.calls.length]).toEqual([503, 1]);
    resolve(undefined);
    expect(await Promise.all(same.map(async (each) => (await each).status))).toEqual(same.map(() => 200));
    verify.mockRestore();
    expect((await api.ask(VIEWER, 'GET', '/v1/audit/verify?from=2')).status).toBe(200);
  });
});

describe('rules to try', () => {
  const body = (yaml: string) => ({
    body: JSON.stringify({ attributes: { unix: { uid: 1, gid: 1, groups: [] } }, yaml }),
  });

  test('that are long are read for operators alone: reading 16 MiB holds everybody up for half a minute', async () => {
    const long = `x: [${'1,'.repeat(150_000)}1]`;
    const ask = (who: typeof VIEWER) => api.ask(who, 'POST', '/v1/rules/explain', body(long));
    const refused = await ask(VIEWER);
    expect([refused.status, await refused.json()]).toEqual([
      413,
      expect.objectContaining({ subject: 'yaml' }),
    ]);
    // Who may apply them may try them: what is wrong with these is something else.
    expect((await ask(OPERATOR)).status).toBe(422);
  });

  test('that are many are tried for operators alone: each condition may take its 50,000 steps', async () => {
    const rules = Array.from(
      { length: 21 },
      (_, i) =>
        `apiVersion: interlock.dev/v1alpha1\nkind: IdentityRule\nmetadata: { name: r${i} }\nspec: { spiffeId: "/user/{unix.user}" }\n`,
    ).join('---\n');
    const ask = async (who: typeof VIEWER) =>
      (await api.ask(who, 'POST', '/v1/rules/explain', body(rules))).status;
    expect([await ask(VIEWER), await ask(OPERATOR), await ask(LOCAL)]).toEqual([413, 200, 200]);
  });
});
