export { type GrpcSocket, SOCKET_SERVER_OPTIONS, serveGrpc } from './grpc-socket.ts';
export { HealthService, MAX_WATCHERS_PER_TENANT } from './health.ts';
export {
  type Caller,
  type ConnectionFault,
  listenUnix,
  type UnixListener,
  type UnixOptions,
} from './listen.ts';
export { addReflection } from './reflection.ts';
export { assertSecurityHeader } from './security-header.ts';
export { CallLimit } from './call-limit.ts';
