export { Addresses } from './addresses.ts';
export { WorkloadApiError } from './api-error.ts';
export { BACKOFF_MS, Backoff } from './backoff.ts';
export { BundleSource, type BundleSourceOptions, type BundleState } from './bundle-source.ts';
export { type ClientOptions, MAX_MESSAGE_BYTES, WorkloadApiClient } from './client.ts';
export { type Clock, systemClock } from './clock.ts';
export {
  assertControlPlane,
  type ControlPlaneContext,
  controlPlaneOf,
  hostAndPort,
  meetControlPlane,
  type MetControlPlane,
  readControlPlaneId,
  shownCertificates,
} from './control-plane.ts';
export { type Endpoint, ENDPOINT_VARIABLE, endpointOf, parseEndpoint } from './endpoint.ts';
export { JwtSource, type JwtSourceOptions } from './jwt-source.ts';
export type { JwtSvid } from './jwt-svid.ts';
export * from './tls/index.ts';
export { type Watch, type WatchHandler, watchStream } from './watch.ts';
export { X509Source, type X509SourceOptions } from './x509-source.ts';
export type { X509State, X509Svid, X509View } from './x509-state.ts';
export { type PickSvid, readX509Update } from './x509-update.ts';
export * from './helper/index.ts';
