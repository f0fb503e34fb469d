export { ByItself } from './by-itself.ts';
export { Gatekeeper } from './gatekeeper.ts';
