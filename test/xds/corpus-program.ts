// gRPC servers and clients without proxies, all configured over xDS by the control plane of the test, certificates
// included: a process of its own, because @grpc/grpc-js-xds reads its environment when it is loaded.
import { createServer } from 'node:net';
import { Client, credentials, ServerCredentials, type sendUnaryData } from '@grpc/grpc-js';
import { register, XdsChannelCredentials, XdsServer, XdsServerCredentials } from '@grpc/grpc-js-xds';

/** What the test asks of the program. */
export type ToProgram =
  /** Serve these methods (`/package.Service/Method`) on so many ports. */
  | { readonly is: 'serve'; readonly ports: number; readonly paths: readonly string[] }
  /** Call one method, as the client of that name in the resources. */
  | { readonly is: 'call'; readonly id: number; readonly as: string; readonly path: string };

/** What the program tells the test. */
export type FromProgram =
  | { readonly is: 'ports'; readonly ports: readonly number[] }
  /** The server has taken the resources of all its ports. */
  | { readonly is: 'serving' }
  | { readonly is: 'answer'; readonly id: number; readonly code: number; readonly text: string };

const bytes = (value: Buffer) => value;
const unary = {
  requestStream: false,
  responseStream: false,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
} as const;

function tell(message: FromProgram): void {
  process.send?.(message);
}

/** Ports that nobody has; all of them are held until all are known, so that none comes twice. */
async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer());
  await Promise.all(
    probes.map((probe) => new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))),
  );
  const ports = probes.map((probe) => {
    const address = probe.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))));
  return ports;
}

async function serve(count: number, paths: readonly string[]): Promise<void> {
  const server = new XdsServer();
  server.addService(
    Object.fromEntries(paths.map((path, index) => [`m${index}`, { ...unary, path }])),
    Object.fromEntries(
      paths.map((path, index) => [
        `m${index}`,
        (_call: unknown, done: sendUnaryData<Buffer>) => done(null, Buffer.from(path)),
      ]),
    ),
  );
  const ports = await freePorts(count);
  tell({ is: 'ports', ports });
  let waiting = count;
  // Takes its certificate and whom it believes from the resources of its port.
  const own = new XdsServerCredentials(ServerCredentials.createInsecure());
  for (const port of ports)
    server.bindAsync(`127.0.0.1:${port}`, own, (error) => {
      if (error !== null) throw error;
      if (--waiting === 0) tell({ is: 'serving' });
    });
}

const clients = new Map<string, Client>();

function call(id: number, as: string, path: string): void {
  let client = clients.get(as);
  if (client === undefined) {
    client = new Client(`xds:///${as}`, new XdsChannelCredentials(credentials.createInsecure()));
    clients.set(as, client);
  }
  const deadline = Date.now() + 60_000;
  client.makeUnaryRequest(path, bytes, bytes, Buffer.from('x'), { deadline }, (error, answer) =>
    tell({ is: 'answer', id, code: error?.code ?? 0, text: error?.details ?? String(answer) }),
  );
}

if (process.send !== undefined && import.meta.main) {
  register();
  process.on('message', (message: ToProgram) => {
    if (message.is === 'serve') void serve(message.ports, message.paths);
    else call(message.id, message.as, message.path);
  });
}
