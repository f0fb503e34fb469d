export {
  type AttestContext,
  type Attested,
  attestedAgent,
  attestorNamed,
  agentNameFault,
  MAX_EVIDENCE_BYTES,
  type NodeAttestor,
} from './attestor.ts';
export type { ClaimTexts } from './claim-rules.ts';
export {
  createJoinToken,
  type JoinToken,
  JoinTokenAttestor,
  type JoinTokens,
  matchesPin,
  pinOf,
  readJoinToken,
} from './join-token.ts';
export {
  K8sPsatAttestor,
  type K8sPsatOptions,
  type KubernetesCluster,
  type TokenReviewStatus,
} from './k8s-psat.ts';
export { OidcAttestor, type OidcIssuer, type OidcOptions } from './oidc.ts';
export { unverifiedIssuer, type UsedTokens, verifyToken } from './token-evidence.ts';
export { discovery, FetchedKeys, type FetchText, isSafeAddress } from './token-keys.ts';
export { answerChallenge, X509PopAttestor, type X509PopOptions } from './x509-pop.ts';
