import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { create } from '@bufbuild/protobuf';
import { certificateToPem, exportPkcs8, pem } from '../../src/identity/index.ts';
import {
  AgentService,
  AttestRequestSchema,
  type AttestRequest,
  type AttestResponse,
  delegated,
  FromAgentSchema,
  type FromAgent,
  type FromServer,
  grpcService,
} from '../../src/proto/index.ts';
import type { Forged } from './forge.ts';
import type { Opened } from './harness.ts';

const DELEGATED = grpcService(delegated.DelegatedIdentity);
const AGENTS = grpcService(AgentService);

/** How a call ended that was to fail: grpc-js' error. */
export type Ending = Pick<ServiceError, 'code' | 'details'>;

/** A client of a node's socket. */
export function local(opened: Opened, path: string): Client {
  return clientOf(opened, `unix:${path}`);
}

function clientOf(opened: Opened, target: string, secure = credentials.createInsecure()): Client {
  const client = new Client(target, secure, {
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_send_message_length': -1,
    'grpc.ssl_target_name_override': 'interlock-server',
  });
  opened.later(() => client.close());
  return client;
}

/** Makes a call with these bytes as its message, and gives how it ended. */
export function callRaw(
  client: Client,
  path: string,
  message: Uint8Array,
  headers: readonly (readonly [string, string])[] = [],
): Promise<Ending> {
  const metadata = new Metadata();
  for (const [name, value] of headers) metadata.add(name, value);
  const bytes = (given: Uint8Array) => Buffer.from(given);
  const call = client.makeBidiStreamRequest<Uint8Array, Buffer>(path, bytes, (answer) => answer, metadata);
  call.write(message);
  call.end();
  return ended(call);
}

/** Asks for the X509-SVIDs of a process: the first answer, or how it ended. */
export function askDelegated(
  client: Client,
  about: { pid?: number; selectors?: { type: string; value: string }[] },
): Promise<delegated.SubscribeToX509SVIDsResponse | Ending> {
  const { path, requestSerialize, responseDeserialize } = DELEGATED.subscribeToX509SVIDs;
  const request = create(delegated.SubscribeToX509SVIDsRequestSchema, {
    pid: about.pid ?? 0,
    selectors: about.selectors ?? [],
  });
  const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
  return new Promise((resolve) => {
    call.on('error', ({ code, details }: ServiceError) => resolve({ code, details }));
    call.on('data', (response: delegated.SubscribeToX509SVIDsResponse) => {
      call.cancel();
      resolve(response);
    });
  });
}

/** A client of a control plane's port, which is not judged; with the certificate of `as`, if any. */
export function stranger(opened: Opened, address: string, as?: Forged): Client {
  const key = as && Buffer.from(pem('PRIVATE KEY', exportPkcs8(as.key)));
  const chain = as && Buffer.from(as.chain.map(({ der }) => certificateToPem(der)).join(''));
  const secure = credentials.createSsl(null, key ?? null, chain ?? null, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  return clientOf(opened, address, secure);
}

/** Opens an agent's lasting stream, sends the messages, and gives how it ended. */
export function connectTo(client: Client, ...messages: readonly FromAgent['message'][]): Promise<Ending> {
  const { path, requestSerialize, responseDeserialize } = AGENTS.connect;
  const call = client.makeBidiStreamRequest<FromAgent, FromServer>(
    path,
    requestSerialize,
    responseDeserialize,
  );
  for (const message of messages) call.write(create(FromAgentSchema, { message }));
  return ended(call);
}

/** Attests with what is given, and gives how it ended. */
export function attestTo(client: Client, ...steps: readonly AttestRequest['step'][]): Promise<Ending> {
  const { path, requestSerialize, responseDeserialize } = AGENTS.attest;
  const call = client.makeBidiStreamRequest<AttestRequest, AttestResponse>(
    path,
    requestSerialize,
    responseDeserialize,
  );
  for (const step of steps) call.write(create(AttestRequestSchema, { step }));
  return ended(call);
}

function ended(call: {
  on(event: 'error', listener: (error: ServiceError) => void): unknown;
  on(event: 'data' | 'end', listener: () => void): unknown;
}): Promise<Ending> {
  return new Promise((resolve) => {
    call.on('error', ({ code, details }: ServiceError) => resolve({ code, details }));
    call.on('data', () => {});
    call.on('end', () => setImmediate(() => resolve({ code: status.OK, details: '' })));
  });
}
