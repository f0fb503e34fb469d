import {
  Client,
  credentials,
  type Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { closeLater } from '../../src/proxy/proxy.test-helper.ts';
import type { Address } from '../../src/proxy/types.ts';

const same = (bytes: Buffer) => bytes;

function method(
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** A service of bytes, with one method of each kind. */
export const ECHO = {
  Unary: method('Unary', false, false),
  Collect: method('Collect', true, false),
  Spread: method('Spread', false, true),
  Chat: method('Chat', true, true),
} satisfies ServiceDefinition;

const LARGE = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };

/** A gRPC program, and how to kill it. */
export async function grpcProgram(
  implementation: UntypedServiceImplementation,
): Promise<{ readonly address: Address; readonly server: Server }> {
  const server = new Server(LARGE);
  server.addService(ECHO, implementation);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  closeLater({ close: () => server.forceShutdown() });
  return { address: { host: '127.0.0.1', port }, server };
}

export function grpcClient(port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    ...LARGE,
    'grpc.use_local_subchannel_pool': 1,
  });
  closeLater(client);
  return client;
}

export interface UnaryAnswer {
  readonly code: number;
  readonly details?: string;
  readonly value?: Buffer;
  readonly metadata?: Metadata;
  readonly trailers?: Metadata;
}

/** One unary call, to its end. */
export function unary(
  client: Client,
  bytes: Buffer,
  options: { readonly metadata?: Metadata; readonly deadline?: number; readonly path?: string } = {},
): Promise<UnaryAnswer> {
  const { metadata, deadline, path = ECHO.Unary.path } = options;
  return new Promise((resolve) => {
    let answer: Partial<UnaryAnswer> = {};
    const call = client.makeUnaryRequest(
      path,
      same,
      same,
      bytes,
      ...((metadata === undefined ? [] : [metadata]) as [Metadata]),
      deadline === undefined ? {} : { deadline },
      (_error: unknown, value?: Buffer) => {
        if (value !== undefined) answer = { ...answer, value };
      },
    );
    call.on('metadata', (metadata: Metadata) => {
      answer = { ...answer, metadata };
    });
    call.on('status', ({ code, details, metadata }) =>
      setImmediate(() => resolve({ ...answer, code, details, trailers: metadata })),
    );
  });
}

export const SAME = same;
