export { LIMITS, type Limits } from './limits.ts';
export type { Json, ProxyNode } from './node.ts';
export type { Confirmation, ProxyState, ProxyStatus, Refusal, TypeStatus } from './proxies.ts';
export type { References } from './references.ts';
export {
  type Held,
  type Resource,
  resourceOf,
  type ResourceSet,
  type Snapshot,
  snapshotOf,
  type SnapshotOptions,
} from './resources.ts';
export { type AdsOptions, AdsServer, adsService } from './server.ts';
export type { SnapshotSource, XdsClock, XdsEvent } from './session.ts';
export type { Protocol } from './subscription.ts';
export { type Kind, KINDS, RESOURCE_TYPES, type ResourceType, typeOfUrl } from './types.ts';
