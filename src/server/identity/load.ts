import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Bundle,
  type CompiledRule,
  compileRule,
  identityRuleOf,
  parseBundle,
  RuleSet,
} from '../../identity/index.ts';
import type { AgentRecord, IdentityStore, Revocation } from '../../store/index.ts';
import type { BelowRevocations } from '../agents/desk.ts';
import { belowFromJson } from './below.ts';
import { type Abroad, readAbroad } from './abroad.ts';
import { DOMAIN_SETTING, type Domain, domainFromJson } from './domain.ts';
import { type Slot, slotFromJson } from './slots.ts';
import { UPSTREAM_SETTING, type Upstream, upstreamFromJson } from './states.ts';

/** Name of the setting that holds the {@link Versions}. */
export const VERSIONS_SETTING = 'versions';

/** Versions of the states that agents are sent; they outlive the process. */
export interface Versions {
  readonly rules: number;
  readonly bundles: number;
  readonly revocations: number;
}

/** What the store holds, read once at the start. */
export interface Loaded {
  readonly domain: Domain;
  readonly slots: readonly Slot[];
  readonly rules: RuleSet;
  readonly foreign: ReadonlyMap<string, Bundle>;
  readonly revocations: readonly Revocation[];
  readonly upstream: Upstream;
  readonly abroad: Abroad;
  readonly below: ReadonlyMap<string, BelowRevocations>;
  readonly agents: readonly AgentRecord[];
  readonly versions: Versions;
  /** Names of rules that this program can no longer read, with why: they give nothing. */
  readonly unreadable: ReadonlyMap<string, string>;
}

/** Reads the whole state. Throws `not_found` where no authority was set up, or `state`. */
export async function loadRegistry(store: IdentityStore, dir: string): Promise<Loaded> {
  const settings = new Map((await store.documents('setting')).map(({ name, data }) => [name, data]));
  const setting = settings.get(DOMAIN_SETTING);
  if (setting === undefined) {
    throw new InterlockError(
      'not_found',
      dir,
      `there is no authority in ${dir}: make one with "interlock authority init"`,
    );
  }
  const domain = domainFromJson(setting);
  const unreadable = new Map<string, string>();
  const rules: CompiledRule[] = [];
  for (const { name, data } of await store.documents('rule')) {
    try {
      rules.push(compileRule(identityRuleOf(data), domain.trustDomain));
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      unreadable.set(name, error.message);
    }
  }
  return {
    domain,
    slots: (await store.documents('authority')).map(({ data }) => slotFromJson(data)),
    rules: new RuleSet(rules),
    foreign: new Map(
      (await store.documents('bundle')).map(({ name, data }) => [
        name,
        parseBundle(typeof data === 'string' ? data : '', name),
      ]),
    ),
    revocations: await store.revocations(),
    upstream: upstreamFromJson(settings.get(UPSTREAM_SETTING), domain.trustDomain),
    abroad: await readAbroad(store, domain.trustDomain, settings),
    below: new Map((await store.documents('below')).map(({ name, data }) => [name, belowFromJson(data)])),
    agents: await store.agents(),
    versions: versionsOf(settings.get(VERSIONS_SETTING)),
    unreadable,
  };
}

function versionsOf(data: unknown): Versions {
  const of = (name: keyof Versions) => {
    const value = typeof data === 'object' && data !== null && name in data ? Reflect.get(data, name) : 1;
    return typeof value === 'number' ? value : 1;
  };
  return { rules: of('rules'), bundles: of('bundles'), revocations: of('revocations') };
}
