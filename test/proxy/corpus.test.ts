import { createServer as createHttp1Server, METHODS } from 'node:http';
import {
  type ClientHttp2Session,
  connect,
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectTcp, createServer, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, describe, expect, it } from 'vitest';
import { type Action, grpcPath, pathOf, type SpiffeId, trustDomainOf } from '../../src/access/index.ts';
import {
  type AccessPolicy,
  type AccessRequest,
  compile,
  decide,
  isTemplate,
  normalizePath,
  type RequestAttributes,
  type Verdict,
} from '../../src/policy/index.ts';
import {
  closeAll,
  closeLater,
  readUntil,
  startApp,
  type TestInbound,
} from '../../src/proxy/proxy.test-helper.ts';
import { proxyHeader } from '../../src/proxy/proxy-protocol/index.ts';
import type { Address, Protocol } from '../../src/proxy/types.ts';
import { contextOptions } from '../../src/workload/index.ts';
import { TestAuthority, TestView } from '../../src/workload/testing.ts';
import { type Decision, loadDecisions } from '../corpus/load.ts';
import { inboundHttp2 } from './two-proxies.test-helper.ts';

/** Ways of sending a request. */
type Way = 'http/1.1' | 'h2' | 'tcp';

const authorities = new Map<string, TestAuthority>();
const identities = new Map<SpiffeId, TestView>();

function authorityOf(trustDomain: string): TestAuthority {
  let authority = authorities.get(trustDomain);
  if (authority === undefined) {
    authority = new TestAuthority(trustDomain);
    authorities.set(trustDomain, authority);
  }
  return authority;
}

/** The identity of a workload, which trusts every trust domain of the corpus. */
function identityOf(id: SpiffeId): TestView {
  let identity = identities.get(id);
  if (identity === undefined) {
    const svid = authorityOf(trustDomainOf(id)).svid(pathOf(id));
    identity = new TestView(
      svid,
      [...authorities.values()].map((authority) => authority.bundle()),
    );
    identities.set(id, identity);
  }
  return identity;
}

/** A program that speaks HTTP/1.1 and HTTP/2, and says which path it was asked for. */
async function program(): Promise<Address> {
  const http1 = createHttp1Server((request, response) => response.end(request.url));
  const http2 = createHttp2Server();
  http2.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': '0',
        'x-path': String(headers[':path']),
      },
      { endStream: true },
    );
  });
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes: Buffer) => {
      socket.pause();
      socket.unshift(bytes);
      const kind = bytes.toString('latin1', 0, 4) === 'PRI ' ? http2 : http1;
      kind.emit('connection', socket);
      if (kind === http1) socket.resume();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  closeLater({
    close: () => {
      server.close();
      http1.closeAllConnections();
    },
  });
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port };
}

/** Why a case says nothing about a proxy, or undefined where it can be sent. */
function notSent({ request: { from, action } }: Decision): string | undefined {
  if (action.port === 0) return 'a port that the recording did not state';
  if (from.kind === 'workload' && pathOf(from.id) === '') return 'a caller that is a whole trust domain';
  if (from.kind === 'unauthenticated' && isIP(from.from) === 0)
    return 'a caller known by a name in place of an address';
  if (action.kind === 'tcp') return undefined;
  const { method, path } = lineOf(action);
  if (isTemplate(path)) return 'a recorded template, which is no path';
  if (method === 'CONNECT' || method === 'TRACE') return 'a method that no proxy here serves';
  return undefined;
}

function lineOf(action: Exclude<Action, { kind: 'tcp' }>): {
  readonly method: string;
  readonly path: string;
} {
  return action.kind === 'http' ? action : { method: 'POST', path: grpcPath(action.service, action.method) };
}

const waysOf = ({ request: { action } }: Decision): readonly Way[] =>
  action.kind === 'tcp' ? ['tcp'] : action.kind === 'grpc' ? ['h2'] : ['http/1.1', 'h2'];

/** One set of policies behind real sockets. */
class Estate {
  readonly #policies: readonly AccessPolicy[];
  readonly #ports = new Map<string, Promise<TestInbound>>();
  readonly #programs: Promise<readonly [Address, Address]>;
  /** What time it is, milliseconds since 1970 UTC: each case says. */
  at = Number.POSITIVE_INFINITY;

  constructor(policies: readonly AccessPolicy[]) {
    this.#policies = policies;
    this.#programs = Promise.all([
      program(),
      startApp((socket) => socket.on('data', (bytes: Buffer) => socket.write(bytes))).then(
        ({ address }) => address,
      ),
    ]);
  }

  portOf(workload: SpiffeId, port: number, protocol: Protocol): Promise<TestInbound> {
    const key = `${workload} ${port} ${protocol}`;
    let inbound = this.#ports.get(key);
    if (inbound === undefined) {
      inbound = this.#programs.then(([http, tcp]) =>
        inboundHttp2(protocol === 'http' ? http : tcp, {
          inbound: {
            workload,
            port,
            protocol,
            trustProxyHeader: { addresses: ['127.0.0.0/8'], workloads: [] },
          },
          listener: { source: identityOf(workload) },
          now: () => this.at,
          enforcements: [
            {
              workload,
              authentication: 'permissive',
              stage: 'enforced',
              enforced: this.#policies,
              target: this.#policies,
            },
          ],
        }),
      );
      this.#ports.set(key, inbound);
    }
    return inbound;
  }
}

const DEFAULT_SOURCE = '10.1.2.3:40000';

function sourceOf({ from, attributes }: AccessRequest): Address {
  if (from.kind === 'unauthenticated')
    return { host: from.from.replace(/^::ffff:(?=\d+\.)/i, ''), port: 40_000 };
  const [, host = '', port = ''] =
    /^\[?(.*?)\]?:(\d+)$/.exec(attributes?.sourceAddress ?? DEFAULT_SOURCE) ?? [];
  return { host, port: Number(port) };
}

/** Connects as the caller, from where the caller is said to be: a PROXY header of a trusted peer says so. */
async function connectAs(request: AccessRequest, port: number, alpn: readonly string[]): Promise<Socket> {
  const plain = connectTcp({ host: '127.0.0.1', port });
  plain.on('error', () => {});
  closeLater({ close: () => plain.destroy() });
  await new Promise((resolve) => plain.once('connect', resolve));
  const source = sourceOf(request);
  // A header names two addresses of one family.
  plain.write(proxyHeader('v2', source, { host: isIP(source.host) === 6 ? '::1' : '127.0.0.1', port }));
  if (request.from.kind === 'unauthenticated') return plain;
  const { svid } = identityOf(request.from.id).state;
  const socket: TLSSocket = connectTls({
    socket: plain,
    ...contextOptions(svid),
    rejectUnauthorized: false,
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  return socket;
}

interface Sent {
  readonly status: number;
  /** The path that the program was asked for. */
  readonly path?: string | undefined;
  readonly attributes?: RequestAttributes;
}

/** Sessions of callers, shared by all their requests to a port. */
const sessions = new Map<string, Promise<ClientHttp2Session>>();

async function overHttp2(
  request: AccessRequest,
  action: Exclude<Action, { kind: 'tcp' }>,
  port: number,
): Promise<Sent> {
  const { host, port: from } = sourceOf(request);
  const key = `${port} ${JSON.stringify(request.from)} ${host} ${from}`;
  let opening = sessions.get(key);
  if (opening === undefined) {
    opening = connectAs(request, port, ['h2']).then((socket) => {
      const session = connect('http://h', { createConnection: () => socket });
      session.on('error', () => {});
      session.on('close', () => sessions.delete(key));
      closeLater({ close: () => session.destroy() });
      return session;
    });
    sessions.set(key, opening);
  }
  const { method, path } = lineOf(action);
  const session = await opening;
  const sent = {
    ...request.attributes?.headers,
    ...(action.kind === 'grpc' ? { 'content-type': 'application/grpc' } : {}),
  };
  const stream = session.request(
    {
      ...sent,
      ':method': method,
      ':path': request.attributes?.path ?? path,
      ':authority': request.attributes?.host ?? 'h',
      ':scheme': 'https',
    },
    { endStream: true },
  );
  let [status, body, reached] = [0, '', undefined as string | undefined];
  stream.on('error', () => {});
  stream.on('response', (headers) => {
    status = Number(headers[':status']);
    reached = headers['x-path'] as string | undefined;
    if (headers['grpc-status'] === '7') status = 403;
  });
  stream.on('data', (bytes: Buffer) => {
    body += String(bytes);
  });
  await new Promise((resolve) => stream.once('close', resolve));
  return { status, path: reached ?? body, attributes: completed(request, path, sent) };
}

async function overHttp1(
  request: AccessRequest,
  action: Exclude<Action, { kind: 'tcp' }>,
  port: number,
): Promise<Sent> {
  const socket = await connectAs(request, port, ['http/1.1']);
  const { method, path } = lineOf(action);
  const headers = request.attributes?.headers ?? {};
  const target = request.attributes?.path ?? path;
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${request.attributes?.host ?? 'h'}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  socket.write(Buffer.from(`${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`, 'utf8'));
  const answer = await readUntil(socket, undefined);
  const [, status = '0', body = ''] = /^HTTP\/1\.1 (\d{3}) [^]*?\r\n\r\n([^]*)$/.exec(answer) ?? [];
  return {
    status: Number(status),
    path: body.replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, ''),
    attributes: completed(request, path, headers),
  };
}

async function overTcp(request: AccessRequest, port: number): Promise<Sent> {
  const socket = await connectAs(request, port, []);
  socket.write('hello');
  const answer = await readUntil(socket, /hello/);
  socket.destroy();
  return { status: answer === 'hello' ? 200 : 403 };
}

/** What a real request always says. */
function completed(
  request: AccessRequest,
  path: string,
  headers: Readonly<Record<string, string>>,
): RequestAttributes {
  const { host, port } = sourceOf(request);
  const { attributes = {} } = request;
  return {
    path: attributes.path ?? path,
    host: attributes.host ?? 'h',
    headers: { host: attributes.host ?? 'h', ...headers },
    sourceAddress: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
  };
}

const decisions = loadDecisions();
for (const { request } of decisions) {
  for (const id of [request.to, ...(request.from.kind === 'workload' ? [request.from.id] : [])])
    authorityOf(trustDomainOf(id));
}
const estates = new Map<string, Estate>();
const counts = new Map<string, number>();
const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);

afterAll(async () => {
  await closeAll();
  console.log([...counts].map(([what, number]) => `${number} ${what}`).join('; '));
});

describe('the corpus of decisions over real sockets', () => {
  for (const decision of decisions) {
    const why = notSent(decision);
    if (why !== undefined) {
      count(`not sent: ${why}`);
      continue;
    }
    for (const way of waysOf(decision)) {
      it(`${decision.file}: ${decision.name}, over ${way}`, async () => {
        const { file, policies, request, verdict, at } = decision;
        let estate = estates.get(file);
        if (estate === undefined) {
          estate = new Estate(policies);
          estates.set(file, estate);
        }
        estate.at = at;
        const inbound = await estate.portOf(request.to, request.action.port, way === 'tcp' ? 'tcp' : 'http');
        const before = inbound.recorder.accesses.length;
        const { port } = inbound;
        const { action } = request;
        const sent =
          action.kind === 'tcp'
            ? await overTcp(request, port)
            : way === 'h2'
              ? await overHttp2(request, action, port)
              : await overHttp1(request, action, port);
        const asked = {
          ...request,
          ...(sent.attributes === undefined ? {} : { attributes: sent.attributes }),
        };
        const expected: Verdict = decide(compile(policies), asked, at);
        if (JSON.stringify(expected) === JSON.stringify(verdict))
          count('cases with the verdict of the corpus');
        else count('cases that a real request answers more completely than the recording');
        const [access] = inbound.recorder.accesses.slice(before);
        if (access === undefined) {
          // The codec has refused it before there was anything to judge: only what is denied in any case.
          expect([0, 400]).toContain(sent.status);
          const isLower = action.kind === 'http' && (/[a-z]/.test(action.method) || action.method === '');
          expect(!expected.allowed || isLower).toBe(true);
          count(`of them refused by the codec over ${way}`);
          return;
        }
        expect(access.judgement?.before).toEqual(expected);
        expect(access.judgement?.after).toEqual(expected);
        // The program answers 400 to methods that it does not know.
        const isKnown = action.kind !== 'http' || METHODS.includes(action.method);
        if (expected.allowed) expect(isKnown ? [200] : [200, 400]).toContain(sent.status);
        else expect(sent.status).toBe(403);
        expect(access.outcome === 'denied').toBe(!expected.allowed);
        if (!expected.allowed || action.kind === 'tcp' || lineOf(action).method === 'HEAD' || !isKnown)
          return;
        const normal = normalizePath(lineOf(action).path, lineOf(action).method);
        // The program is asked for the path that was judged.
        if (normal.ok) expect(sent.path?.split('?')[0]).toBe(normal.path);
      });
    }
  }

  it('is sent, but for cases that are no requests', () => {
    const skipped = decisions.filter((decision) => notSent(decision) !== undefined).length;
    expect(skipped).toBeLessThan(decisions.length / 6);
  });
});
