import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Api } from './api.ts';
import { serverUrl } from './reach.ts';
import { signInFile } from './token.ts';

let dir: string;
const servers: Server[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-client-'));
  vi.stubEnv('XDG_CONFIG_HOME', dir);
  vi.stubEnv('INTERLOCK_TOKEN', '');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server that notes what it was asked; gives its address. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  const opened = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', opened.resolve);
  await opened.promise;
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const json = (response: ServerResponse, status: number, body: unknown) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};
const apiAt = (server: string) => new Api({ state: dir, server });

describe('a control plane by its address', () => {
  test('is asked by the name of a route: path, query, body and token as they should be', async () => {
    const asked: unknown[] = [];
    const server = await serve(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      const { method, url, headers } = request;
      asked.push([method, url, headers.authorization, headers['x-interlock-user'], body]);
      json(response, 200, {});
    });
    mkdirSync(join(dir, 'interlock'));
    writeFileSync(signInFile(), JSON.stringify({ [server]: { token: 'one' }, other: { token: 'two' } }), {
      mode: 0o600,
    });
    const api = apiAt(server);
    const workload = 'spiffe://example.org/ns/shop/sa/cart';
    await api.call('rollouts.move', { params: { workload }, body: { to: 'canary', share: 0.1 } });
    await api.call('flips.list', { query: { to: workload, since: 5, after: undefined } });
    vi.stubEnv('INTERLOCK_TOKEN', 'three');
    await api.call('status.get');
    expect(asked).toEqual([
      [
        'POST',
        '/v1/rollouts/example.org%2Fns%2Fshop%2Fsa%2Fcart/move',
        'Bearer one',
        undefined,
        '{"to":"canary","share":0.1}',
      ],
      ['GET', `/v1/flips?to=${encodeURIComponent(workload)}&since=5`, 'Bearer one', undefined, ''],
      ['GET', '/v1/status', 'Bearer three', undefined, ''],
    ]);
    chmodSync(signInFile(), 0o644);
    vi.stubEnv('INTERLOCK_TOKEN', '');
    await expect(api.call('status.get')).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('answers with its problem, which says what to do', async () => {
    const problem = { status: 401, code: 'untrusted', subject: 's', detail: 'sign in first' };
    const server = await serve((_, response) => json(response, 401, problem));
    await expect(apiAt(server).call('status.get')).rejects.toMatchObject({
      code: 'untrusted',
      subject: 's',
      message: expect.stringContaining(`interlock sign-in --server ${server}`),
    });
  });

  test.each([
    ['a page', (response: ServerResponse) => void response.end('<html>')],
    [
      'a redirect',
      (response: ServerResponse) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    ],
    [
      'a code that is none',
      (response: ServerResponse) => json(response, 500, { code: '__proto__', detail: 'x' }),
    ],
    ['nothing', (response: ServerResponse) => void response.destroy()],
  ])('that is another program and answers with %s is unavailable', async (_, answer) => {
    const server = await serve((__, response) => answer(response));
    await expect(apiAt(server).call('status.get')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test.each([
    'http://example.org:7080',
    'http://10.0.0.1',
    'http://127.0.0.1.example.org',
    'http://user:secret@127.0.0.1:1',
    'ftp://127.0.0.1',
    'https://example.org/path',
    'nonsense',
  ])('is not asked at %s: its token could be read, or it is no address', async (server) => {
    await expect(apiAt(server).call('status.get')).rejects.toMatchObject({ code: 'usage' });
  });
});

test('without an address the control plane of the state directory is asked', async () => {
  await expect(new Api({ state: dir }).call('status.get')).rejects.toMatchObject({
    code: 'unavailable',
    subject: dir,
  });
});

test.each([
  'https://user:pw@control.example',
  'https://:pw@control.example',
  'https://control.example/path',
  'http://control.example',
  'http://127.0.0.1.example',
  'http://localhost.example',
  'ftp://127.0.0.1',
])('%s is no address of a control plane: no token goes there', (server) => {
  expect(() => serverUrl(server)).toThrow(
    expect.objectContaining({ code: 'usage', message: expect.not.stringContaining('pw@') }),
  );
});
