import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { connectMtls, type ConnectOptions, type MtlsConnection } from './client.ts';
import { createMtlsServer, type MtlsServer, type MtlsServerOptions, type Refusal } from './server.ts';
import { authorizeAny } from './authorize.ts';
import type { X509View } from '../x509-state.ts';

/** A server of a test that answers "hello ID" and echoes; with what it refused. */
export interface TestServer {
  readonly server: MtlsServer;
  readonly port: number;
  readonly refusals: Refusal[];
  /** Everything that the program behind the server was given to read. */
  readonly received: string[];
}

const opened: { close(): unknown }[] = [];

/** Closes what a test opened. */
export async function closeAll(): Promise<void> {
  for (const one of opened.splice(0)) await one.close();
}

/** Has `closeAll` close it. */
export function closeLater<T extends { close(): unknown }>(one: T): T {
  opened.push(one);
  return one;
}

export async function serve(source: X509View, options: Partial<MtlsServerOptions> = {}): Promise<TestServer> {
  const refusals: Refusal[] = [];
  const received: string[] = [];
  const server = closeLater(
    createMtlsServer({
      source,
      authorize: authorizeAny(),
      onConnection: (socket, { spiffeId }) => {
        socket.write(`hello ${spiffeId}\n`);
        socket.on('data', (bytes) => {
          received.push(String(bytes));
          socket.write(bytes);
        });
      },
      onRefused: (refusal) => refusals.push(refusal),
      ...options,
    }),
  );
  const { port } = (await server.listen({ port: 0, host: '127.0.0.1' })) as AddressInfo;
  return { server, port, refusals, received };
}

export async function dial(
  port: number,
  source: X509View,
  options: Partial<ConnectOptions> = {},
): Promise<MtlsConnection> {
  const connection = await connectMtls(
    { host: '127.0.0.1', port },
    { source, authorize: authorizeAny(), ...options },
  );
  connection.socket.on('error', () => {});
  closeLater({ close: () => connection.socket.destroy() });
  return connection;
}

/** The next bytes as text; "" when the connection ends first. */
export function read(socket: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    const end = () => resolve('');
    socket.once('close', end);
    socket.once('data', (bytes: Buffer) => {
      socket.off('close', end);
      resolve(String(bytes));
    });
  });
}

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}
