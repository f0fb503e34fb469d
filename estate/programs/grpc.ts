import { fileURLToPath } from 'node:url';
import { Client, credentials, type MethodDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { setting } from './program.ts';

const PROTO = fileURLToPath(new URL('../shop.proto', import.meta.url));
const CALL_MS = 10_000;
const root = protobuf.loadSync(PROTO);

/** The unary methods of a service in shop.proto, as grpc-js takes them. */
function methodsOf(service: string): Record<string, MethodDefinition<object, object>> {
  const { methods } = root.lookupService(`shop.v1.${service}`);
  return Object.fromEntries(
    Object.values(methods).map(({ name, requestType, responseType }) => {
      const [input, output] = [requestType, responseType].map((type) => codec(root.lookupType(type)));
      if (input === undefined || output === undefined) throw new Error(`no types of ${name}`);
      const path = `/shop.v1.${service}/${name}`;
      return [
        name,
        {
          path,
          requestStream: false,
          responseStream: false,
          requestSerialize: input.encode,
          requestDeserialize: input.decode,
          responseSerialize: output.encode,
          responseDeserialize: output.decode,
        },
      ];
    }),
  );
}

function codec(type: protobuf.Type) {
  return {
    encode: (message: object) => Buffer.from(type.encode(type.fromObject(message)).finish()),
    decode: (bytes: Buffer): object => type.toObject(type.decode(bytes), { defaults: true, arrays: true }),
  };
}

/** What one method answers. */
type Answers = (request: never) => object | Promise<object>;

/** Serves gRPC on the port of a setting; resolves once it listens. */
export function serveGrpc(
  portSetting: string,
  service: string,
  answers: Readonly<Record<string, Answers>>,
): Promise<void> {
  const server = new Server();
  const implementation = Object.fromEntries(
    Object.entries(answers).map(([name, answer]) => [
      name,
      async (
        call: { readonly request: object },
        done: (error: Error | null, reply: object | null) => void,
      ) => {
        try {
          // Each method gets the message that shop.proto names for it.
          done(null, await answer(call.request as never));
        } catch (error) {
          done(error instanceof Error ? error : new Error(String(error)), null);
        }
      },
    ]),
  );
  server.addService(methodsOf(service), implementation);
  return new Promise((resolve, reject) => {
    const at = `127.0.0.1:${setting(portSetting)}`;
    server.bindAsync(at, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()));
  });
}

/** A client of a service at the addresses of a setting: each call goes to the next one. */
export function grpcClient(
  addressSetting: string,
  service: string,
): <T extends object>(method: string, message: object) => Promise<T> {
  const methods = methodsOf(service);
  const clients = setting(addressSetting)
    .split(',')
    .map((address) => new Client(address, credentials.createInsecure()));
  let turn = 0;
  return <T extends object>(name: string, message: object) =>
    new Promise<T>((resolve, reject) => {
      const client = clients[turn++ % clients.length];
      const method = methods[name];
      if (client === undefined || method === undefined) throw new Error(`${service} has no ${name}`);
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        message,
        { deadline: Date.now() + CALL_MS },
        (error, reply) =>
          // What shop.proto names as the reply of this method.
          error ? reject(new Error(`${service}.${name}: ${error.message}`)) : resolve(reply as T),
      );
    });
}
