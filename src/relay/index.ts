// Beside one Envoy: its configuration and its evidence, whether or not the control plane is there.
export { readRoutes } from './rendering.ts';
export { Relay, type RelayEvent, type RelayOptions } from './relay.ts';
