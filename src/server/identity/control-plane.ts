import type { InterlockError, SpiffeId } from '../../access/index.ts';
import {
  type Confirmations,
  JoinTokenAttestor,
  type NodeAttestor,
  type UsedTokens,
} from '../../identity/index.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import type { Replacement } from '../agents/desk.ts';
import { KeyVault } from '../keys/key-vault.ts';
import type { Timers } from '../timers.ts';
import { Agents } from './agents.ts';
import { Authorities, type Superior } from './authorities.ts';
import { Children } from './children.ts';
import { cutoverFromJson, Cutovers } from './cutovers.ts';
import { IdentityDesk } from './desk.ts';
import { Issuing } from './issuing.ts';
import { Recorder } from './recorder.ts';
import { type Loaded, loadRegistry } from './load.ts';
import { Registry } from './registry.ts';
import { Revoking } from './revoking.ts';
import { SigningKeys } from './signing-keys.ts';
import { joinTokensOf, usedTokensOf } from './tokens.ts';

/** What the control plane asks of the agents' service, once that is there. */
export interface AgentLink {
  /** The oldest version of the bundles that a connected agent has confirmed; undefined where none is connected. */
  oldestBundles(): number | undefined;
  /** Agents that have not confirmed the newest bundles. */
  behind(version: number): readonly string[];
  /** Connected agents that take no ID of another trust domain. */
  withoutTargets(): ReadonlySet<string>;
  replace(replacement: Replacement): void;
  disconnect(id: SpiffeId, error: InterlockError): void;
}

export interface ControlPlaneOptions {
  readonly state: string;
  readonly timers: Timers;
  /** Beside join tokens. */
  readonly attestors?:
    | ((parts: { readonly used: UsedTokens; readonly timers: Timers }) => readonly NodeAttestor[])
    | undefined;
  readonly superior?: Superior | undefined;
  /** An open store instead of the state directory's own: tests that let it fail. */
  readonly store?: IdentityStore;
}

/** All parts of the control plane for identity, wired; no socket is open yet. */
export interface ControlPlane {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly registry: Registry;
  readonly keys: SigningKeys;
  readonly authorities: Authorities;
  /** By the name of the authority: the control planes abroad that this one has joined, set as each is followed. */
  readonly superiors: Map<string, Superior>;
  readonly issuing: Issuing;
  readonly revoking: Revoking;
  readonly agents: Agents;
  readonly children: Children;
  readonly cutovers: Cutovers;
  readonly desk: IdentityDesk;
  readonly loaded: Loaded;
  readonly confirmations: () => Confirmations;
  /** Set by the agents' service when it starts. */
  link: AgentLink;
  /** Something that a person has to look at; set by what writes the log. */
  onWarning: (about: string, message: string) => void;
  /** Set by federation when it starts. */
  isPeer: (trustDomain: string) => boolean;
  close(): Promise<void>;
}

const NOBODY: AgentLink = {
  oldestBundles: () => undefined,
  behind: () => [],
  withoutTargets: () => new Set(),
  replace: () => {},
  disconnect: () => {},
};

/** Opens the state of a control plane. Throws `not_found` where none was set up, `state`, `io`. */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { state, timers } = options;
  const store = options.store ?? (await openIdentityStore(state));
  try {
    return await wire(options, store, await loadRegistry(store, state), timers);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function wire(
  options: ControlPlaneOptions,
  store: IdentityStore,
  loaded: Loaded,
  timers: Timers,
): Promise<ControlPlane> {
  const since = timers.now();
  const recorder = new Recorder(store, timers);
  const registry = new Registry(loaded, recorder, timers);
  const { domain } = registry;
  const keys = new SigningKeys(new KeyVault(options.state), domain, () => timers.now());
  // Asked for at every word of every agent, and looked at only while an authority waits for them: each is worked out
  // when it is read.
  const confirmations = (): Confirmations => ({
    get oldest() {
      return plane.link.oldestBundles();
    },
    get behind() {
      return plane.link.behind(registry.bundles.current.version);
    },
    since,
  });
  const superiors = new Map<string, Superior>();
  const authorities = new Authorities({
    registry,
    recorder,
    keys,
    timers,
    superior: options.superior,
    superiors,
    confirmations,
    replace: (authority, overMs) => plane.link.replace({ authority, overMs }),
    liveCounts: () => recorder.within(store.liveCounts(timers.now())),
  });
  const oldestBundles = () => plane.link.oldestBundles();
  const kept = await store.documents('cutover');
  const cutovers = new Cutovers(
    {
      registry,
      authorities,
      recorder,
      store,
      timers,
      oldestBundles,
      since,
      withoutTargets: () => plane.link.withoutTargets(),
      onWarning: (about, message) => plane.onWarning(about, message),
    },
    kept.flatMap(({ data }) => cutoverFromJson(data) ?? []),
  );
  const issuing = new Issuing({
    registry,
    authorities,
    recorder,
    timers,
    places: cutovers.places,
  });
  const revoking = new Revoking({
    registry,
    recorder,
    store,
    keys,
    timers,
    namesOf: (id) => cutovers.places.namesOf(id),
  });
  const used: UsedTokens = usedTokensOf(store, recorder);
  const attestors = [
    new JoinTokenAttestor(joinTokensOf(store, recorder)),
    ...(options.attestors?.({ used, timers }) ?? []),
  ];
  const agents = new Agents(
    {
      registry,
      recorder,
      issuing,
      revoking,
      timers,
      attestors: new Map(attestors.map((attestor) => [attestor.name, attestor])),
      onForgotten: (id) => plane.children.forget(id),
      disconnect: (id, error) => plane.link.disconnect(id, error),
    },
    loaded.agents,
  );
  const children = new Children(
    {
      registry,
      authorities,
      issuing,
      store,
      recorder,
      timers,
      agentOf: (id) => agents.agentOf(id),
      isPeer: (name) => plane.isPeer(name),
    },
    await childOwners(store),
  );
  const desk = new IdentityDesk({ store, registry, issuing, agents, children, recorder, timers });
  const plane: ControlPlane = {
    store,
    recorder,
    registry,
    keys,
    authorities,
    superiors,
    issuing,
    revoking,
    agents,
    children,
    cutovers,
    desk,
    loaded,
    confirmations,
    link: NOBODY,
    onWarning: () => {},
    isPeer: () => false,
    close: () => store.close(),
  };
  return plane;
}

async function childOwners(store: IdentityStore): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  for (const { name, data } of await store.documents('child')) {
    const agent = typeof data === 'object' && data !== null && 'agent' in data ? data['agent'] : undefined;
    if (typeof agent === 'string') owners.set(name, agent);
  }
  return owners;
}
