import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';

/** A server on a loopback port of the system's choice. */
export interface Backend {
  readonly port: number;
  close(): Promise<void>;
}

/** Answers every request with the target that it received, as JSON text. */
export async function httpBackend(): Promise<Backend> {
  const server = createHttpServer((request, response) => {
    response.end(JSON.stringify({ method: request.method, path: request.url }));
  });
  // Envoy keeps its connections: one that is closed for being idle as it is used again makes a 503, and no verdict.
  server.keepAliveTimeout = 0;
  return listen(server);
}

/** Sends every byte back. */
export async function echoBackend(): Promise<Backend> {
  return listen(createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)));
}

async function listen(server: Server): Promise<Backend> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
        server.closeAllConnections();
    });
  // A server that listens on a TCP port has an address of this kind.
  return { port: (server.address() as AddressInfo).port, close };
}

/** The path in an answer of {@link httpBackend}, or undefined where it came from someone else. */
export function receivedPath(body: string): string | undefined {
  const json = /\{.*\}/s.exec(body)?.[0];
  // The backend writes this shape.
  return json === undefined ? undefined : (JSON.parse(json) as { path: string }).path;
}
