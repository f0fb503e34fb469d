export {
  FederationClient,
  type FederationOptions,
  type FetchBundle,
  type KnownBundle,
  type PeerStatus,
  type Timers,
} from './client.ts';
export {
  checkRelationship,
  endpointTrustDomain,
  type FederationProfile,
  type FederationRelationship,
  sameRelationship,
  type WrittenRelationship,
} from './relationship.ts';
export {
  DEFAULT_REFRESH,
  failed as federationFailed,
  fetched as federationFetched,
  type FederationFault,
  isStale,
  MAX_REFRESH,
  MIN_REFRESH,
  type PeerState,
  refreshOf,
  startPeer,
} from './schedule.ts';
