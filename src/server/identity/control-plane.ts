import type { InterlockError, SpiffeId } from '../../access/index.ts';
import {
  type Confirmations,
  JoinTokenAttestor,
  type NodeAttestor,
  type UsedTokens,
} from '../../identity/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { Replacement } from '../agents/desk.ts';
import { type Place, placeOf } from '../place.ts';
import type { Timers } from '../timers.ts';
import { Agents } from './agents.ts';
import { Authorities, type Superior } from './authorities.ts';
import { confirmationsOf } from './confirmations.ts';
import { Children } from './children.ts';
import { Cutovers } from './cutovers.ts';
import { IdentityDesk } from './desk.ts';
import { Following } from './following.ts';
import { GuessedTokens } from './guessed.ts';
import { Issuing } from './issuing.ts';
import { Recorder } from './recorder.ts';
import { Leadership } from './leadership.ts';
import { type Loaded, loadRegistry, readRegistry } from './load.ts';
import { Registry } from './registry.ts';
import { type AgentHere, Replicas } from './replicas.ts';
import { Revoking } from './revoking.ts';
import { SigningKeys } from './signing-keys.ts';
import { takenOver } from './taken-over.ts';
import { usedTokensOf } from './tokens.ts';

/** What the control plane asks of the agents' service, once that is there: it speaks for the agents that are connected here. */
export interface AgentLink {
  agents(): readonly AgentHere[];
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
  /** A directory, or a place of another kind. */
  readonly state: string | Place;
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
  /** Of the agents at every control plane of this state. */
  readonly confirmations: () => Confirmations;
  /** Other control planes may have the same state open. */
  readonly isShared: boolean;
  readonly leadership: Leadership;
  readonly following: Following;
  readonly replicas: Replicas;
  /** Set by the agents' service when it starts. */
  link: AgentLink;
  /** Something that a person has to look at; set by what writes the log. */
  onWarning: (about: string, message: string) => void;
  /** What went wrong where nobody waits for it; set by what writes the log. */
  onFault: (error: unknown) => void;
  /** Is told when something that was a fault is well again. */
  onWell: (message: string) => void;
  /** Set by federation when it starts. */
  isPeer: (trustDomain: string) => boolean;
  /** The agents here have come, gone, or confirmed something. */
  agentsChanged(): void;
  /** Something was changed at another control plane, or by its agents; set by what looks what is due. */
  onElsewhere: () => void;
  /** Where the state is shared: follows the others from now on, and stands for leader. */
  join(): Promise<void>;
  /** Leaves the others: who leads next, and whose agents come where, is up to them. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

/** What steps of the registry change. */
const REGISTRY_KINDS = [
  'authority',
  'rule',
  'bundle',
  'child',
  'below',
  'joined',
  'region',
  'setting',
  'revocation',
] as const;

const NOBODY: AgentLink = {
  agents: () => [],
  oldestBundles: () => undefined,
  behind: () => [],
  withoutTargets: () => new Set(),
  replace: () => {},
  disconnect: () => {},
};

/** Opens the state of a control plane. Throws `not_found` where none was set up, `state`, `io`. */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { timers } = options;
  const place = placeOf(options.state);
  const store = options.store ?? (await place.openIdentity());
  try {
    return await wire(options, place, store, await loadRegistry(store, place.name), timers);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function wire(
  options: ControlPlaneOptions,
  place: Place,
  store: IdentityStore,
  loaded: Loaded,
  timers: Timers,
): Promise<ControlPlane> {
  const since = timers.now();
  const recorder = new Recorder(store, timers);
  const registry = new Registry(loaded, recorder, timers, (known) =>
    readRegistry(store, loaded.domain.trustDomain, known),
  );
  const { domain } = registry;
  const keys = new SigningKeys(await place.vault(store), domain, () => timers.now());
  const leadership = new Leadership(place.isShared, timers);
  const onFault = (error: unknown) => plane.onFault(error);
  const following = new Following(timers, onFault, (message) => plane.onWell(message));
  const replicas = new Replicas({
    store,
    timers,
    agents: () => plane.link.agents(),
    bundles: () => registry.bundles.current.version,
    isLeader: () => leadership.isLeader,
    leadsSince: () => leadership.since,
    onChange: () => plane.onElsewhere(),
    onFault,
  });
  const confirmations = () => confirmationsOf({ registry, link: plane.link, replicas, since });
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
  const cutovers = new Cutovers({
    registry,
    authorities,
    recorder,
    store,
    timers,
    confirmations,
    withoutTargets: () =>
      new Set([
        ...plane.link.withoutTargets(),
        ...replicas.agents().flatMap(({ id, takesTargets }) => (takesTargets ? [] : [id])),
      ]),
    onWarning: (about, message) => plane.onWarning(about, message),
  });
  await cutovers.follow();
  const issuing = new Issuing({
    registry,
    authorities,
    recorder,
    timers,
    places: cutovers.places,
    isShared: place.isShared,
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
    new JoinTokenAttestor(new GuessedTokens({ store, recorder, timers })),
    ...(options.attestors?.({ used, timers }) ?? []),
  ];
  const agents = new Agents(
    {
      registry,
      recorder,
      store,
      issuing,
      revoking,
      timers,
      attestors: new Map(attestors.map((attestor) => [attestor.name, attestor])),
      onForgotten: (id) => plane.children.forget(id),
      disconnect: (id, error) => plane.link.disconnect(id, error),
    },
    loaded.agents,
  );
  const children = new Children({
    registry,
    authorities,
    issuing,
    store,
    recorder,
    timers,
    agentOf: (id) => agents.agentOf(id),
    isPeer: (name) => plane.isPeer(name),
  });
  const desk = new IdentityDesk({
    store,
    registry,
    issuing,
    agents,
    children,
    recorder,
    timers,
    isShared: place.isShared,
  });
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
    isShared: place.isShared,
    leadership,
    following,
    replicas,
    onWarning: () => {},
    onFault: () => {},
    onWell: () => {},
    isPeer: () => false,
    agentsChanged: () => replicas.look(),
    onElsewhere: () => {},
    async join() {
      if (!place.isShared) return;
      await registry.remakeCrls();
      registry.bundles.subscribe(() => replicas.look());
      leadership.onChange(() => replicas.look());
      await following.start(store);
      await replicas.start();
      await leadership.start(store);
    },
    async leave() {
      following.stop();
      await replicas.stop();
      await leadership.stop();
    },
    close: () => store.close(),
  };
  registry.onFault = onFault;
  registry.onFollowed = (before) => takenOver(plane, before);
  following.on(
    REGISTRY_KINDS,
    async () => {
      await registry.follow();
      keys.keepOnly(registry.slots.current.value);
      plane.onElsewhere();
    },
    { alsoOwn: true },
  );
  following.on(['agent'], (ids) => agents.follow(ids));
  following.on(
    ['cutover'],
    async () => {
      await cutovers.follow();
      plane.onElsewhere();
    },
    { alsoOwn: true },
  );
  following.on(['replica'], () => replicas.follow());
  return plane;
}
