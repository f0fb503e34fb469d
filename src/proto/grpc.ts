import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { MethodDefinition } from '@grpc/grpc-js';

/** The methods of a .proto file's service as grpc-js takes them, typed by the generated messages. */
export type GrpcService<Methods extends GenServiceMethods> = {
  readonly [Name in keyof Methods]: MethodDefinition<
    MessageShape<Methods[Name]['input']>,
    MessageShape<Methods[Name]['output']>
  >;
};

/** Gives a generated service to grpc-js: for its servers (`addService`), and for calls of its clients. */
export function grpcService<Methods extends GenServiceMethods>(
  service: GenService<Methods>,
): GrpcService<Methods> {
  const methods: Record<string, MethodDefinition<MessageShape<DescMessage>, MessageShape<DescMessage>>> = {};
  for (const { name, localName, input, output, methodKind: kind } of service.methods) {
    methods[localName] = {
      path: `/${service.typeName}/${name}`,
      requestStream: kind === 'client_streaming' || kind === 'bidi_streaming',
      responseStream: kind === 'server_streaming' || kind === 'bidi_streaming',
      requestSerialize: (message) => Buffer.from(toBinary(input, message)),
      requestDeserialize: (bytes) => fromBinary(input, bytes),
      responseSerialize: (message) => Buffer.from(toBinary(output, message)),
      responseDeserialize: (bytes) => fromBinary(output, bytes),
      originalName: name,
    };
  }
  // The loop goes over the very methods that the type lists.
  return methods as unknown as GrpcService<Methods>;
}
