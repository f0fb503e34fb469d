// Envoy's access log service (envoy.service.accesslog.v3): messages of a stream -> calls, with the verdicts of its RBAC filters.
export {
  type LogAbout,
  type LoggedCall,
  type LoggedPlaintext,
  readCall,
} from './access.ts';
export { type LogMessage, readLogMessage } from './message.ts';
export { accessLogService, type LogCall, LogStream, type LogTaker } from './stream.ts';
export { metadataSlots } from './verdicts.ts';
export { WireError } from './wire.ts';
