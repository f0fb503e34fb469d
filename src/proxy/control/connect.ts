import { createSecureContext } from 'node:tls';
import { Client, type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { grpcService } from '../../proto/index.ts';
import { type FromProxy, ProxyService, type ToProxy } from '../../proto/proxy/index.ts';
import { authorizeId, type MtlsPolicy, mtlsClientOptions } from '../../workload/index.ts';

const service = grpcService(ProxyService);
const MAX_STATE_BYTES = 64 * 1024 * 1024;

/** Where the control plane is, and who it must be. */
export interface ControlAddress {
  /** HOST:PORT. */
  readonly address: string;
  readonly server: SpiffeId;
  readonly source: MtlsPolicy['source'];
}

/** An open stream to the control plane. */
export interface ControlStream {
  /** False where the connection is full: `onDrain` says when it no longer is. */
  send(message: FromProxy): boolean;
  close(): void;
}

export interface StreamHandlers {
  readonly onMessage: (message: ToProxy['message']) => void;
  readonly onDrain: () => void;
  /** Called once. */
  readonly onEnd: (error: InterlockError) => void;
}

/** Opens the stream with the proxy's SVID of this moment. Nothing is sent to a server that is not the one expected. */
export function openControlStream(
  { address, server, source }: ControlAddress,
  handlers: StreamHandlers,
): ControlStream {
  const { checkServerIdentity, ...options } = mtlsClientOptions({ source, authorize: authorizeId(server) });
  const channel = credentials.createFromSecureContext(
    createSecureContext(options),
    checkServerIdentity === undefined ? {} : { checkServerIdentity },
  );
  const client = new Client(address, channel, {
    'grpc.ssl_target_name_override': 'interlock-server',
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.max_receive_message_length': MAX_STATE_BYTES,
  });
  const { path, requestSerialize, responseDeserialize } = service.connect;
  const call: ClientDuplexStream<FromProxy, ToProxy> = client.makeBidiStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
  );
  let ended = false;
  const end = (error: InterlockError) => {
    if (ended) return;
    ended = true;
    client.close();
    handlers.onEnd(error);
  };
  call.on('data', (message: ToProxy) => {
    if (!ended) handlers.onMessage(message.message);
  });
  call.on('drain', () => handlers.onDrain());
  call.on('error', (cause: ServiceError) =>
    end(new InterlockError('unavailable', address, reasonOf(cause), { cause })),
  );
  call.on('end', () =>
    end(new InterlockError('unavailable', address, 'the control plane ended the connection')),
  );
  return {
    send: (message) => !ended && call.write(message),
    close() {
      call.cancel();
      end(new InterlockError('unavailable', address, 'the proxy ended the connection'));
    },
  };
}

/** What the library says, without the note that it adds and leaves empty. */
function reasonOf({ details, message }: ServiceError): string {
  return (details || message).replace(/[.\s]*Resolution note:\s*$/, '');
}
