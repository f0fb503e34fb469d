import { type ConfigMapFact, type Declaration, factKey, type WorkloadFact } from './facts.ts';

/** The workload whose configuration declares something. */
export interface Declarer {
  readonly namespace: string;
  readonly workload: string;
  readonly serviceAccount: string;
}

/** A declaration with the workload that makes it; `where` names that, too. */
export interface PlacedDeclaration extends Declaration {
  readonly from: Declarer;
}

/** Every declaration of the workloads: their own, and those of the config maps that they read. */
export function* declarationsOf(
  workloads: Iterable<WorkloadFact>,
  configMaps: Iterable<ConfigMapFact>,
): Iterable<PlacedDeclaration> {
  const maps = new Map([...configMaps].map((map) => [factKey(map), map]));
  for (const { namespace, name: workload, serviceAccount, kind, ...fact } of workloads) {
    const from = { namespace, workload, serviceAccount };
    const place = `in ${kind} ${workload}`;
    for (const declaration of fact.declares) {
      yield { ...declaration, from, where: `${declaration.where} ${place}` };
    }
    for (const { name, key, by, where } of fact.configMaps) {
      const map = maps.get(`configMap ${namespace}/${name}`);
      for (const { host, port, key: at } of map?.hosts ?? []) {
        if (key !== undefined && key !== at) continue;
        const named = port === undefined ? { host } : { host, port };
        yield { ...named, by, from, where: `key ${at} of config map ${name}, ${where} ${place}` };
      }
    }
  }
}
