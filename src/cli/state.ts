import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type AccessGraph, buildGraph, type Fact, InterlockError, type SpiffeId } from '../access/index.ts';
import { openSqliteStore, recordedOf, STATE_FILE, type Store, TRUST_DOMAIN_SETTING } from '../store/index.ts';

/** The trust domain of an estate that was never told another. */
export const DEFAULT_TRUST_DOMAIN = 'example.org';

/** Whether there is a state in the directory. */
export function stateExists(dir: string): boolean {
  return existsSync(join(dir, STATE_FILE));
}

/** The trust domain that the state was told, or the default. */
export async function trustDomainOfState(store: Store): Promise<string> {
  return (await store.setting(TRUST_DOMAIN_SETTING)) ?? DEFAULT_TRUST_DOMAIN;
}

/** Keeps the trust domain for every later command. */
export async function setTrustDomain(store: Store, name: string): Promise<void> {
  await store.setSetting(TRUST_DOMAIN_SETTING, name);
}

/** What a command that reads the state works on. */
export interface Estate {
  readonly graph: AccessGraph;
  readonly facts: readonly Fact[];
}

/** The error of a command that is asked about a workload which nothing names. */
export function unknownWorkload(id: SpiffeId): InterlockError {
  return new InterlockError('not_found', id, `no recording or manifest names the workload ${id}`);
}

/** Reads the whole state of an estate, and closes it. */
export async function loadEstate(dir: string): Promise<Estate> {
  const store = openSqliteStore(dir);
  try {
    return await readEstate(store);
  } finally {
    await store.close();
  }
}

/** The estate of an open store. */
export async function readEstate(store: Store): Promise<Estate> {
  const recorded = await recordedOf(store, await trustDomainOfState(store));
  return { graph: buildGraph(recorded), facts: recorded.facts };
}
