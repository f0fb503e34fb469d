import { engine } from '../../src/engines/envoy/index.ts';
import { readPolicies } from '../../src/policy/index.ts';

type Json = Readonly<Record<string, unknown>>;

/** The parts of one rendered document that a listener takes. */
export interface Rendered {
  readonly manager: Json;
  readonly http: readonly Json[];
  readonly tcp: readonly Json[];
}

/** The rendering of one policy with these rules, for a workload of no importance. */
export function renderRules(
  rules: { readonly rules: unknown[]; readonly deny?: unknown[] },
  shadow: boolean,
): Rendered {
  const policy = {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'shop' },
    spec: { protects: { workload: 'spiffe://interop.test/server' }, ...rules },
  };
  const { documents } = engine.render(readPolicies(JSON.stringify(policy)), {
    shadow,
    workload: () => undefined,
  });
  const [document] = documents;
  if (document === undefined) throw new Error('one policy is one document');
  return partsOf(document.content);
}

/** The parts of a document; Envoy refuses them where they have another shape than is said here. */
export function partsOf(content: Json): Rendered {
  return {
    manager: (content['http_connection_manager'] ?? {}) as Json,
    http: (content['http_filters'] ?? []) as Json[],
    tcp: (content['network_filters'] ?? []) as Json[],
  };
}
