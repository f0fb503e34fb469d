export { type Counters, newCounters } from './counters.ts';
export {
  type HeldAccess,
  InboundConnection,
  type InboundContext,
  type LogLine,
  type ProtocolHandler,
} from './inbound/connection.ts';
export { InboundListener, type InboundOptions } from './inbound/listener.ts';
export { http2Server } from './http2/inbound.ts';
export { http2Outbound } from './http2/outbound.ts';
export { ProgramSessions } from './http2/program-sessions.ts';
export type { Http2Server } from './inbound/protocols.ts';
export {
  type OutboundConnection,
  type OutboundHttp2,
  OutboundListener,
  type OutboundOptions,
} from './outbound/listener.ts';
export { type UplinkOptions, Uplinks } from './outbound/uplinks.ts';
export { DEFAULT_LIMITS, DEFAULT_TIMEOUTS, type Limits, type Timeouts } from './settings.ts';
export * from './types.ts';
export { type OnJudgeFault, Verdicts } from './verdicts/verdicts.ts';
export { type ControlStream, openControlStream, type StreamHandlers } from './control/connect.ts';
export { Governor, type GovernorOptions } from './control/governor.ts';
export type { Policies } from './control/policies.ts';
export { type StateFiles, stateFiles } from './control/state-files.ts';
export { Spool } from './evidence/spool.ts';
export { type ProxyDocument, readProxyDocument } from './program/document.ts';
export { listenLocally, type LocallyServed } from './program/local-api.ts';
export { Proxy, type ProxyOptions, type ProxyStatus } from './program/proxy.ts';
export * from './node/index.ts';
export * from './intercept/index.ts';
