export { API_SOCKET, localCaller, USER_HEADER } from './api/listen.ts';
export { type ApiOptions, apiApp, type CallerOf } from './api/app.ts';
export { SERVER_LIMITS } from './api/limits.ts';
export { openApi } from './api/openapi.ts';
export type { ApiParts, SignIn } from './api/parts.ts';
export { BUNDLE_PATH } from './endpoints/listen.ts';
export { DEFAULT_AUTHORITY_TTL, type Domain } from './identity/domain.ts';
export { newSecret, type NotifyConfig, notifyConfigFrom, sendTest } from './notify/index.ts';
export { checkState } from './check-state.ts';
export { domainOf, initialise } from './identity/initialise.ts';
export { httpNames, type HttpOptions } from './http/serve.ts';
export { type SignInConfig, signInConfigFrom } from './sign-in/config.ts';
export { providerFault } from './sign-in/provider.ts';
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
export { addKey, makeKeyFile, readKeyFile, removeKey } from './keys/key-file.ts';
export { checkDatabase, openDatabasePlace, type Place, type SharedPlace } from './place.ts';
export { databaseClock } from './database-clock.ts';
