export * from './attest.ts';
export { type ContainerSource, DockerEngine } from './container-source.ts';
export {
  type FoundContainer,
  PodList,
  type PodListOptions,
  type PodSource,
} from './pod-source.ts';
export { Turns } from './turns.ts';
