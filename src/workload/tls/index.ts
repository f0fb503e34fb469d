export { MtlsAgent, type MtlsAgentOptions } from './agent.ts';
export {
  authorizeAny,
  authorizeId,
  type Authorizer,
  authorizeMemberOf,
  authorizeWhere,
} from './authorize.ts';
export { connectMtls, type ConnectOptions, type MtlsConnection, type Target } from './client.ts';
export { type AtExpiry, sameTrust } from './connections.ts';
export { CIPHERS, contextOptions, GROUPS } from './context.ts';
export { judge, type MtlsPolicy, type Peer, peerOf, presentedChain, provePeer } from './peer.ts';
export { type GuardOptions, guardServer, mtlsClientOptions, mtlsServerOptions } from './raw.ts';
export {
  createMtlsServer,
  MtlsServer,
  type MtlsServerOptions,
  type Refusal,
  toHttpServer,
} from './server.ts';
