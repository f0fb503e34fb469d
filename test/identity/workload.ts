import type { AddressInfo } from 'node:net';
import { setInterval } from 'node:timers/promises';
import {
  authorizeAny,
  authorizeMemberOf,
  connectMtls,
  createMtlsServer,
  X509Source,
} from '../../src/workload/index.ts';

/**
 * A workload, as a process of its own: `ids ENDPOINT` says which identities it gets, `serve ENDPOINT` serves mutual TLS,
 * `call ENDPOINT PORT` calls such a server; `mesh ENDPOINT [PORT]` serves whoever proves an ID and, where a port is given,
 * calls there again and again, and says which two IDs met, and by whose authority, whenever that is new, and each failure. It
 * prints a JSON value a line. Runs until it is ended, except `call`.
 */
const [act, endpoint = '', port = ''] = process.argv.slice(2);
const say = (value: object) => console.log(JSON.stringify(value));

if (act === 'ids') {
  const source = await X509Source.open({
    endpoint,
    onError: ({ code, message }) => say({ refused: message, code }),
  });
  for await (const { svid } of source) say({ id: svid.spiffeId, uid: process.getuid?.() });
} else if (act === 'serve') {
  const source = await X509Source.open({ endpoint });
  const server = createMtlsServer({
    source,
    authorize: authorizeMemberOf('example.org'),
    onConnection: (socket, { spiffeId }) => {
      say({ caller: spiffeId });
      socket.end(`hello ${spiffeId}`);
    },
    onRefused: ({ error }) => say({ refused: error.message, code: error.code }),
  });
  const address = (await server.listen({ port: 0, host: '127.0.0.1' })) as AddressInfo;
  say({ port: address.port });
} else if (act === 'mesh') {
  const source = await X509Source.open({ endpoint });
  const server = createMtlsServer({
    source,
    authorize: authorizeAny(),
    onConnection: (socket) => socket.end('hello'),
    onRefused: ({ error }) => say({ failed: `as a server: ${error.message}` }),
  });
  const address = (await server.listen({ port: 0, host: '127.0.0.1' })) as AddressInfo;
  say({ port: address.port });
  let last = '';
  const meet = async () => {
    try {
      const options = { source, authorize: authorizeAny() };
      const { socket, peer } = await connectMtls({ host: '127.0.0.1', port: Number(port) }, options);
      socket.on('error', () => {});
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
      const { svid } = source;
      const met = [svid.spiffeId, peer.spiffeId];
      const by = [svid.chain[0]?.authorityKeyId, peer.chain[0]?.authorityKeyId];
      const now = JSON.stringify({ met, by });
      if (now !== last) say({ met, by });
      last = now;
    } catch (error) {
      say({ failed: `as a client: ${error instanceof Error ? error.message : String(error)}` });
    }
  };
  if (port !== '') for await (const _ of setInterval(5)) await meet();
} else if (act === 'call') {
  const source = await X509Source.open({ endpoint });
  try {
    const { socket, peer } = await connectMtls(
      { host: '127.0.0.1', port: Number(port) },
      { source, authorize: authorizeMemberOf('example.org') },
    );
    let answer = '';
    socket.on('data', (bytes: Buffer) => (answer += String(bytes)));
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('close', resolve));
    say({ server: peer.spiffeId, answer });
  } finally {
    source.close();
  }
}
