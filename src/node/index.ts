export { Agent, type AgentOptions, type AgentStatus } from './agent/agent.ts';
export {
  githubEvidence,
  joinTokenEvidence,
  kubernetesEvidence,
  oidcFileEvidence,
  x509Evidence,
} from './agent/evidence.ts';
export type { ApiLog } from './api/callers.ts';
export {
  type ContainerSource,
  DockerEngine,
  PodList,
  type PodListOptions,
  type PodSource,
} from './attestation/index.ts';
export { type ServerTrust, trustByPin } from './link/server-trust.ts';
export { hostAndPort, readControlPlaneId } from '../workload/index.ts';
export type { NodeEvidence } from './link/transport.ts';
export { systemTimers, type Timers } from './timers.ts';
