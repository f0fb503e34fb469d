export { API_SOCKET } from './admin/listen.ts';
export { USER_HEADER } from './admin/api.ts';
export { BUNDLE_PATH } from './endpoints/listen.ts';
export { DEFAULT_AUTHORITY_TTL, type Domain } from './identity/domain.ts';
export { initialise } from './identity/initialise.ts';
export {
  type AttestorParts,
  type ListenAddress,
  type ServeOptions,
  serveIdentity,
  type ServerLog,
  type Serving,
} from './serve.ts';
export { realTimers, type Timers } from './timers.ts';
export { attestorsFrom } from './attestors/config.ts';
export { signOffline } from './identity/offline-root.ts';
export { setUp } from './identity/set-up.ts';
