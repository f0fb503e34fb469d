// A gRPC server and a gRPC client without proxies, both configured over xDS by the control plane of the test: a process
// of its own, because @grpc/grpc-js-xds reads its environment when it is loaded.
import { createServer } from 'node:net';
import {
  Client,
  credentials,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { register, XdsServer } from '@grpc/grpc-js-xds';

/** What the program tells the test. */
export type FromProgram =
  | { readonly is: 'port'; readonly port: number }
  | { readonly is: 'answer'; readonly code: number; readonly text: string };

const bytes = (value: Buffer) => value;
const echo = {
  path: '/test.Echo/Say',
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

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function main(): Promise<void> {
  register();
  const port = await freePort();
  const server = new XdsServer();
  server.addService(
    { say: echo },
    {
      say: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        done(null, Buffer.concat([Buffer.from('you said '), call.request])),
    },
  );
  server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) => {
    if (error !== null) throw error;
  });
  const client = new Client('xds:///echo', credentials.createInsecure());
  process.on('message', () => {
    client.makeUnaryRequest(
      echo.path,
      bytes,
      bytes,
      Buffer.from('hello'),
      { deadline: Date.now() + 60_000 },
      (error, answer) =>
        tell({ is: 'answer', code: error?.code ?? 0, text: error?.details ?? String(answer) }),
    );
  });
  tell({ is: 'port', port });
}

if (process.send !== undefined && import.meta.main) await main();
