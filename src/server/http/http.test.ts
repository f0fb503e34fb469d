import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secretOf, type TestHttp, testHttp } from './testing.test-helper.ts';

let plane: TestHttp;
beforeAll(async () => {
  plane = await testHttp();
});
afterAll(async () => {
  expect(plane.faults).toEqual([]);
  await plane.close();
});

const LINK = '/v1/sign-in/link';

describe('a link', () => {
  test('signs one person in, once', async () => {
    const secret = await secretOf(plane.serving);
    const [one, two] = [plane.browser(), plane.browser()];
    const statuses = await Promise.all(
      [one, two].map(async (each) => (await each.post(LINK, { secret })).status),
    );
    expect(statuses.toSorted()).toEqual([200, 401]);
    const third = plane.browser();
    expect((await third.post(LINK, { secret })).status).toBe(401);
    expect(third.session).toBeUndefined();
  });

  test('is not used up by whoever only looks at it', async () => {
    const link = (await plane.serving.makeLink?.())?.url ?? '';
    const preview = await fetch(link, { headers: { accept: 'text/html' } });
    expect(preview.status).toBe(200);
    await preview.body?.cancel();
    const browser = plane.browser();
    expect((await browser.post(LINK, { secret: link.split('#')[1] })).status).toBe(200);
  });

  test('is no secret that the store, the log or the audit log knows', async () => {
    const link = (await plane.serving.makeLink?.())?.url ?? '';
    const browser = plane.browser();
    const secret = link.split('#')[1] ?? '';
    await browser.post(LINK, { secret });
    const { store } = plane.serving.plane;
    const kept = JSON.stringify([
      await store.documents('sign-in-link'),
      await store.documents('session'),
      await store.audit(1, 1000),
      plane.warnings,
    ]);
    expect(browser.session).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect([kept.includes(secret), kept.includes(browser.session ?? '')]).toEqual([false, false]);
  });

  test('guessed too often is answered with a wait, and the right one is taken all the same', async () => {
    const other = await testHttp();
    try {
      const statuses = [];
      for (let i = 0; i < 12; i++)
        statuses.push((await other.browser().post(LINK, { secret: 'A'.repeat(43) })).status);
      expect([statuses[0], statuses.at(-1)]).toEqual([401, 429]);
      expect((await other.signedIn()).session).toBeDefined();
    } finally {
      await other.close();
    }
  });
});

describe('a session', () => {
  test('is another one at each sign-in, whatever the browser brought, and the one before has ended', async () => {
    const browser = plane.browser();
    const jar = new Map([[`interlock-${new URL(plane.origin).port}-session`, 'B'.repeat(43)]]);
    browser.cookies.set(new URL(plane.origin).host, jar);
    await browser.post(LINK, { secret: await secretOf(plane.serving) });
    const first = browser.session ?? '';
    expect(first).not.toBe('B'.repeat(43));
    await browser.post(LINK, { secret: await secretOf(plane.serving) });
    expect(browser.session).not.toBe(first);
    const thief = plane.browser();
    thief.cookies.set(new URL(plane.origin).host, new Map([[[...jar.keys()][0] ?? '', first]]));
    expect((await thief.ask('/v1/me')).status).toBe(401);
  });

  test('that is ended ends its streams at once', async () => {
    const [browser, other] = [await plane.signedIn(), await plane.signedIn()];
    const stream = await browser.ask('/v1/events');
    expect(stream.status).toBe(200);
    const ended = stream.text();
    const { sessions } = (await (await browser.ask('/v1/sessions')).json()) as {
      sessions: { id: string; isThis: boolean }[];
    };
    const own = sessions.find(({ isThis }) => isThis);
    const gone = await other.ask(`/v1/sessions/${own?.id}`, {
      method: 'DELETE',
      headers: { origin: plane.origin },
    });
    expect(gone.status).toBe(200);
    expect(await ended).toContain('retry:');
    expect((await browser.ask('/v1/me')).status).toBe(401);
  });

  test('signs out', async () => {
    const browser = await plane.signedIn();
    const before = browser.session ?? '';
    expect((await browser.post('/v1/sign-out', {})).status).toBe(200);
    expect(browser.session).toBeUndefined();
    const name = `interlock-${new URL(plane.origin).port}-session`;
    expect((await browser.ask('/v1/me', { headers: { cookie: `${name}=${before}` } })).status).toBe(401);
  });

  test('has a cookie that scripts and other sites do not see', async () => {
    const browser = plane.browser();
    const answer = await browser.post(LINK, { secret: await secretOf(plane.serving) });
    const [cookie = ''] = answer.headers.getSetCookie();
    expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43(200|199)$/);
  });
});

describe('a foreign site', () => {
  const cases: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['with its origin', { origin: 'https://evil.example' }],
    ['of another port', { origin: 'http://127.0.0.1:1' }],
    ['without a site of its own', { origin: 'null' }],
    ['that the browser names', { 'sec-fetch-site': 'cross-site' }],
    ['beside this one', { 'sec-fetch-site': 'same-site' }],
  ];
  test.each(cases)('%s changes nothing', async (_, headers) => {
    const browser = await plane.signedIn();
    const answer = await browser.post('/v1/releases', { reason: 'x', scope: { kind: 'all' } }, headers);
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ code: 'forbidden', subject: 'origin' });
  });

  test('changes nothing through a browser that says nothing of where a call is from', async () => {
    const browser = await plane.signedIn();
    const body = new URLSearchParams({ a: '1' });
    expect((await browser.ask('/v1/sign-out', { method: 'POST', body })).status).toBe(403);
    expect((await browser.ask('/v1/me')).status).toBe(200);
  });

  test('cannot send a form in place of JSON', async () => {
    const browser = await plane.signedIn();
    const answer = await browser.post('/v1/join-tokens', {}, { 'content-type': 'text/plain' });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ subject: 'content-type' });
  });

  test('reads nothing', async () => {
    const browser = await plane.signedIn();
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect((await browser.ask('/v1/me', { headers })).status).toBe(403);
  });

  test.each(['evil.example', '127.0.0.1', '127.0.0.1:1', '127.0.0.1.evil.example:80', ''])(
    'whose name "%s" leads here gets nothing',
    async (host) => {
      const answer = await raw(`GET /v1/openapi.json HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 (403|400) /);
    },
  );

  test.each(['localhost', '127.0.0.1', '[::1]'])('is not who calls it %s', async (name) => {
    const host = `${name}:${new URL(plane.origin).port}`;
    const answer = await raw(`GET /v1/openapi.json HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});

test.each([
  ['its length in two ways', 'Host: %\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['two lengths', 'Host: %\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
  ['an encoding that does not end it', 'Host: %\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
  ['a folded header', 'Host: %\r\nX-A: b\r\n c\r\n\r\n'],
  ['a blank before a colon', 'Host : %\r\n\r\n'],
  ['bare line feeds', 'Host: %\n\n'],
  ['no host', '\r\n'],
  ['a host that is none of ours, and then ours', 'Host: evil.example\r\nHost: %\r\n\r\n'],
])('a request with %s, which a proxy in front may read in another way, is refused', async (_, rest) => {
  const answer = await raw(
    `POST /v1/sign-out HTTP/1.1\r\nConnection: close\r\n${rest.replaceAll('%', new URL(plane.origin).host)}`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 (400|403) /);
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
});

describe('every answer', () => {
  test.each(['/', '/v1/me', '/v1/none', '/healthz', '/none.js', '/v1/sign-in', '/sign-in', '/%zz'])(
    'of %s keeps browsers from framing, sniffing and telling on',
    async (path) => {
      const { headers } = await fetch(new URL(path, plane.origin));
      const csp = headers.get('content-security-policy') ?? '';
      expect(csp).toContain("default-src 'none'");
      expect(csp).toContain("frame-ancestors 'none'");
      expect(csp).not.toContain('unsafe');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
      expect(headers.get('access-control-allow-origin')).toBeNull();
    },
  );
});

describe('a body', () => {
  test.each([
    ['too large', `{"secret": "${'x'.repeat(70_000)}"}`, 413],
    ['nested too deeply', `${'['.repeat(5000)}${']'.repeat(5000)}`, 413],
    ['that is no JSON', '{"secret"', 400],
    ['of another shape', '{"secret": 1}', 400],
  ])('%s is refused', async (_, body, status) => {
    const headers = { 'content-type': 'application/json', origin: plane.origin };
    expect((await fetch(plane.origin + LINK, { method: 'POST', body, headers })).status).toBe(status);
  });
});

describe('health', () => {
  test('is told to whoever asks, under any name', async () => {
    const answer = await raw('GET /readyz HTTP/1.1\r\nHost: 10.0.0.7\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toContain('{"status":"ready","checks":{"store":"ok","authority":"ok","evidence":"ok"');
  });
});

/** What the server answers to these very bytes. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(plane.origin).port), '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}
