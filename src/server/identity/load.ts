import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Bundle,
  type CompiledRule,
  compileRule,
  identityRuleOf,
  parseBundle,
  RuleSet,
} from '../../identity/index.ts';
import {
  type AgentRecord,
  canonicalJson,
  type IdentityStore,
  type Json,
  type Revocation,
} from '../../store/index.ts';
import type { BelowRevocations } from '../agents/desk.ts';
import { belowFromJson } from './below.ts';
import { type Abroad, readAbroad } from './abroad.ts';
import { DOMAIN_SETTING, type Domain, domainFromJson } from './domain.ts';
import { type Slot, slotFromJson, slotToJson } from './slots.ts';
import { UPSTREAM_SETTING, type Upstream, upstreamFromJson } from './states.ts';

/** Name of the setting that holds the {@link Versions}. */
export const VERSIONS_SETTING = 'versions';

/** Versions of the states that agents are sent; they outlive the process. */
export interface Versions {
  readonly rules: number;
  readonly bundles: number;
  readonly revocations: number;
}

/** What the registry knows, as the store holds it at one moment. */
export interface RegistryState {
  /** Of the document that every step of every replica changes: who steps expects it. */
  readonly step: number;
  readonly slots: readonly Slot[];
  readonly rules: RuleSet;
  readonly foreign: ReadonlyMap<string, Bundle>;
  readonly revocations: readonly Revocation[];
  readonly upstream: Upstream;
  readonly abroad: Abroad;
  readonly below: ReadonlyMap<string, BelowRevocations>;
  /** Which child has published the bundle of a trust domain. */
  readonly owners: ReadonlyMap<string, string>;
  readonly versions: Versions;
  /** Names of rules that this program can no longer read, with why: they give nothing. */
  readonly unreadable: ReadonlyMap<string, string>;
}

/** What the store holds, read once at the start. */
export interface Loaded extends RegistryState {
  readonly domain: Domain;
  readonly agents: readonly AgentRecord[];
}

/** Reads the whole state. Throws `not_found` where no authority was set up, or `state`. */
export async function loadRegistry(store: IdentityStore, where: string): Promise<Loaded> {
  const [setting] = await store.documents('setting', [DOMAIN_SETTING]);
  if (setting === undefined) {
    throw new InterlockError(
      'not_found',
      where,
      `there is no authority in ${where}: make one with "interlock authority init"`,
    );
  }
  const domain = domainFromJson(setting.data);
  const state = await readRegistry(store, domain.trustDomain);
  return { domain, ...state, agents: await store.agents() };
}

/**
 * Reads what the registry knows, as it was between two steps. Of what was `known` only those parts are read whose
 * version is another one now.
 */
export async function readRegistry(
  store: IdentityStore,
  trustDomain: string,
  known?: RegistryState,
): Promise<RegistryState> {
  for (;;) {
    const settings = new Map((await store.documents('setting')).map((setting) => [setting.name, setting]));
    const step = settings.get(VERSIONS_SETTING)?.version ?? 0;
    if (known?.step === step) return known;
    const data = new Map([...settings].map(([name, setting]) => [name, setting.data]));
    const read = await readParts(store, trustDomain, data, known);
    // A step that was taken meanwhile may be seen in half of it.
    const [after] = await store.documents('setting', [VERSIONS_SETTING]);
    if ((after?.version ?? 0) === step) return { ...read, step };
  }
}

async function readParts(
  store: IdentityStore,
  trustDomain: string,
  settings: ReadonlyMap<string, Json>,
  known: RegistryState | undefined,
): Promise<Omit<RegistryState, 'step'>> {
  const versions = versionsOf(settings.get(VERSIONS_SETTING));
  const isKnown = (part: keyof Versions) => known?.versions[part] === versions[part];
  return {
    versions,
    ...(known !== undefined && isKnown('rules')
      ? rulesOf(known)
      : await readRules(store, trustDomain, known)),
    ...(known !== undefined && isKnown('bundles')
      ? trustOf(known)
      : await readTrust(store, trustDomain, settings, known)),
    ...(known !== undefined && isKnown('revocations')
      ? { revocations: known.revocations, below: known.below }
      : await readRevocations(store)),
  };
}

type Rules = Pick<RegistryState, 'rules' | 'unreadable'>;
const rulesOf = ({ rules, unreadable }: Rules): Rules => ({ rules, unreadable });

async function readRules(
  store: IdentityStore,
  trustDomain: string,
  known: Rules | undefined,
): Promise<Rules> {
  const unreadable = new Map<string, string>();
  const rules: CompiledRule[] = [];
  for (const { name, data } of await store.documents('rule')) {
    const before = known?.rules.get(name);
    // A rule is compiled once; and who compares sees that it is the same one.
    if (before !== undefined && JSON.stringify(before.rule) === JSON.stringify(data)) {
      rules.push(before);
      continue;
    }
    try {
      rules.push(compileRule(identityRuleOf(data), trustDomain));
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      unreadable.set(name, error.message);
    }
  }
  return { rules: new RuleSet(rules), unreadable };
}

type Trust = Pick<RegistryState, 'slots' | 'foreign' | 'owners' | 'upstream' | 'abroad'>;
const trustOf = ({ slots, foreign, owners, upstream, abroad }: Trust): Trust => ({
  slots,
  foreign,
  owners,
  upstream,
  abroad,
});

async function readTrust(
  store: IdentityStore,
  trustDomain: string,
  settings: ReadonlyMap<string, Json>,
  known: Trust | undefined,
): Promise<Trust> {
  const before = new Map(known?.slots.map((slot) => [slot.id, slot]));
  return {
    slots: (await store.documents('authority')).map(({ name, data }) => {
      const slot = before.get(name);
      // The same object: its keys are ready.
      const isSame = slot !== undefined && canonicalJson(slotToJson(slot)) === canonicalJson(data);
      return isSame ? slot : slotFromJson(data);
    }),
    foreign: new Map(
      (await store.documents('bundle')).map(({ name, data }) => [
        name,
        parseBundle(typeof data === 'string' ? data : '', name),
      ]),
    ),
    owners: await childOwners(store),
    upstream: upstreamFromJson(settings.get(UPSTREAM_SETTING), trustDomain),
    abroad: await readAbroad(store, trustDomain, settings),
  };
}

async function readRevocations(store: IdentityStore): Promise<Pick<RegistryState, 'revocations' | 'below'>> {
  return {
    revocations: await store.revocations(),
    below: new Map((await store.documents('below')).map(({ name, data }) => [name, belowFromJson(data)])),
  };
}

async function childOwners(store: IdentityStore): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  for (const { name, data } of await store.documents('child')) {
    const agent = typeof data === 'object' && data !== null && 'agent' in data ? data['agent'] : undefined;
    if (typeof agent === 'string') owners.set(name, agent);
  }
  return owners;
}

function versionsOf(data: unknown): Versions {
  const of = (name: keyof Versions) => {
    const value = typeof data === 'object' && data !== null && name in data ? Reflect.get(data, name) : 1;
    return typeof value === 'number' ? value : 1;
  };
  return { rules: of('rules'), bundles: of('bundles'), revocations: of('revocations') };
}
