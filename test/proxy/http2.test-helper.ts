import { createServer as createHttp1Server, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { closeLater } from '../../src/proxy/proxy.test-helper.ts';
import type { Address } from '../../src/proxy/types.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly code: number;
  readonly interim: readonly number[];
}

/** The whole answer; status 0 where there was none. */
export function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let [status, headers]: [number, IncomingHttpHeaders] = [0, {}];
  let trailers: IncomingHttpHeaders | undefined;
  const body: Buffer[] = [];
  const interim: number[] = [];
  stream.on('headers', (found) => interim.push(Number(found[':status'])));
  stream.on('response', (found) => {
    headers = found;
    status = Number(found[':status']);
  });
  stream.on('data', (bytes: Buffer) => body.push(bytes));
  stream.on('trailers', (found) => {
    trailers = found;
  });
  stream.on('error', () => {});
  return new Promise((resolve) =>
    stream.on('close', () =>
      resolve({ status, headers, trailers, interim, body: Buffer.concat(body), code: stream.rstCode }),
    ),
  );
}

export function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<Answer> {
  const stream = session.request({ ':authority': 'db', ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return answerOf(stream);
}

export async function listening(server: Server | Http2Server): Promise<Address> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  closeLater({ close: () => server.close() });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** A program that speaks HTTP/1.1. */
export function http1Program(
  serve: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Address> {
  const server = createHttp1Server(serve);
  closeLater({ close: () => server.closeAllConnections() });
  return listening(server);
}

type Serve = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** A program that speaks HTTP/2 in plain text. */
export async function http2Program(serve: Serve): Promise<Address> {
  return (await http2Listening(serve)).address;
}

/** The same, with its server. */
export async function http2Listening(
  serve: Serve,
): Promise<{ readonly address: Address; readonly server: Http2Server }> {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    serve(stream, headers);
  });
  server.on('session', (session) => closeLater({ close: () => session.destroy() }));
  return { address: await listening(server), server };
}
