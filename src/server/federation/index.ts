export { publicEndpoint } from './endpoint.ts';
export { bundleFetcher } from './fetch.ts';
