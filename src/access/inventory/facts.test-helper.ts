import type { WorkloadFact } from './facts.ts';

/** A deployment of the namespace "shop" whose service account has its name, and which serves on port 8080. */
export function workload(name: string, more: Partial<WorkloadFact> = {}): WorkloadFact {
  return {
    fact: 'workload',
    kind: 'Deployment',
    namespace: 'shop',
    name,
    serviceAccount: name,
    labels: { app: name },
    ports: [{ port: 8080 }],
    images: [`${name}:1`],
    hostNetwork: false,
    marks: {},
    declares: [],
    configMaps: [],
    ...more,
  };
}
