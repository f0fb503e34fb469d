import type { AddressInfo } from 'node:net';
import { authorizeAny, connectMtls, createMtlsServer, type X509View } from '../../src/workload/index.ts';
import { type Forged, viewOf } from './forge.ts';
import { type Opened, shifted } from './harness.ts';

/** What `source` says of a server that shows the identity: "accepted", or the reason why not. */
export async function judgedServer(
  opened: Opened,
  svid: Forged,
  source: X509View,
  clock = shifted(0),
): Promise<string> {
  const server = createMtlsServer({
    source: viewOf(svid, source.state.bundles),
    authorize: authorizeAny(),
    onConnection: () => {},
  });
  opened.later(() => server.close());
  const { port } = (await server.listen({ port: 0, host: '127.0.0.1' })) as AddressInfo;
  return connectMtls({ host: '127.0.0.1', port }, { source, authorize: authorizeAny(), clock }).then(
    () => 'accepted',
    (error: Error) => error.message,
  );
}

/** What a server of `source` says of a client that shows the identity. */
export async function judgedClient(
  opened: Opened,
  svid: Forged,
  source: X509View,
  clock = shifted(0),
): Promise<string> {
  const verdict = Promise.withResolvers<string>();
  const server = createMtlsServer({
    source,
    authorize: authorizeAny(),
    clock,
    onConnection: () => verdict.resolve('accepted'),
    onRefused: ({ error }) => verdict.resolve(error.message),
  });
  opened.later(() => server.close());
  const { port } = (await server.listen({ port: 0, host: '127.0.0.1' })) as AddressInfo;
  const mine = { source: viewOf(svid, source.state.bundles), authorize: authorizeAny() };
  const { socket } = await connectMtls({ host: '127.0.0.1', port }, mine);
  socket.on('error', () => {});
  return verdict.promise;
}
