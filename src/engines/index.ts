import { engine as cilium } from './cilium/index.ts';
import type { Engine, EngineName } from './engine.ts';
import { engine as envoy } from './envoy/index.ts';
import { engine as istio } from './istio/index.ts';
import { engine as kubernetes } from './kubernetes/index.ts';
import { engine as linkerd } from './linkerd/index.ts';

export * from './engine.ts';

const TABLE: Readonly<Record<EngineName, Engine>> = { envoy, istio, linkerd, cilium, kubernetes };

/** The engine of that name. */
export function engineNamed(name: EngineName): Engine {
  return TABLE[name];
}
