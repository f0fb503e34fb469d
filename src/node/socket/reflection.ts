import { create, type DescFile, type DescService } from '@bufbuild/protobuf';
import { type Server, type ServerDuplexStream, status } from '@grpc/grpc-js';
import { grpcService, reflection } from '../../proto/index.ts';
import { Descriptors, encodedFiles } from './descriptors.ts';

type Request = reflection.ServerReflectionRequest;
type Response = reflection.ServerReflectionResponse;
type Answer = Response['messageResponse'];
type Stream = ServerDuplexStream<Request, Response>;

const V1_PATH = '/grpc.reflection.v1.';
const V1ALPHA_PATH = '/grpc.reflection.v1alpha.';
/** Questions on one stream; a client that lists everything asks a few hundred. */
const MAX_QUESTIONS = 10_000;

/**
 * Lets clients such as grpcurl ask which services a server has (gRPC server reflection, v1 and v1alpha: their
 * messages are the same). The reflection service itself is always among them.
 */
export function addReflection(server: Server, services: readonly DescService[]): void {
  const own = reflection.ServerReflection;
  const descriptors = new Descriptors([...services, own]);
  const { serverReflectionInfo: method } = grpcService(own);
  const implementation = { serverReflectionInfo: (call: Stream) => answerAll(call, descriptors) };
  server.addService({ serverReflectionInfo: method }, implementation);
  const path = method.path.replace(V1_PATH, V1ALPHA_PATH);
  server.addService({ serverReflectionInfo: { ...method, path } }, implementation);
}

// By events: reading the stream in a loop would destroy it at the client's end, before the status is sent.
function answerAll(call: Stream, descriptors: Descriptors): void {
  const sent = new Set<string>();
  let asked = 0;
  call.on('data', (request: Request) => {
    asked += 1;
    if (asked > MAX_QUESTIONS) {
      call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many questions on one stream' });
      return;
    }
    const response = create(reflection.ServerReflectionResponseSchema, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answerOf(request, descriptors, sent),
    });
    if (call.write(response)) return;
    call.pause();
    call.once('drain', () => call.resume());
  });
  call.on('end', () => call.end());
}

function answerOf(
  { messageRequest: question }: Request,
  descriptors: Descriptors,
  sent: Set<string>,
): Answer {
  switch (question.case) {
    case 'listServices': {
      const service = descriptors.services.map((name) => create(reflection.ServiceResponseSchema, { name }));
      return {
        case: 'listServicesResponse',
        value: create(reflection.ListServiceResponseSchema, { service }),
      };
    }
    case 'fileByFilename':
      return files(descriptors.file(question.value), question.value, sent);
    case 'fileContainingSymbol':
      return files(descriptors.fileOf(question.value), question.value, sent);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = question.value;
      const file = descriptors.fileOfExtension(containingType, extensionNumber);
      return files(file, `extension ${extensionNumber} of ${containingType}`, sent);
    }
    case 'allExtensionNumbersOfType': {
      const extensionNumber = descriptors.extensionsOf(question.value);
      if (extensionNumber === undefined) return error(status.NOT_FOUND, `${question.value} is not known`);
      const value = create(reflection.ExtensionNumberResponseSchema, {
        baseTypeName: question.value,
        extensionNumber,
      });
      return { case: 'allExtensionNumbersResponse', value };
    }
    default:
      return error(status.INVALID_ARGUMENT, 'the request asks nothing');
  }
}

function files(file: DescFile | undefined, name: string, sent: Set<string>): Answer {
  if (file === undefined) return error(status.NOT_FOUND, `${name.slice(0, 200)} is not known`);
  // A file that is asked for is always answered with; what it imports only once on a stream.
  sent.delete(file.proto.name);
  const fileDescriptorProto = encodedFiles(file, sent);
  const value = create(reflection.FileDescriptorResponseSchema, { fileDescriptorProto });
  return { case: 'fileDescriptorResponse', value };
}

function error(errorCode: status, errorMessage: string): Answer {
  return {
    case: 'errorResponse',
    value: create(reflection.ErrorResponseSchema, { errorCode, errorMessage }),
  };
}
