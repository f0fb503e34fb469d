import { InterlockError } from '../../access/index.ts';
import { withoutAuthorities } from '../../identity/index.ts';
import type { Change } from '../../store/index.ts';
import type { Joined } from '../identity/abroad.ts';
import { assertModest } from '../identity/bundle-limits.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Actor } from '../identity/recorder.ts';
import type { Slot } from '../identity/slots.ts';
import type { ServerLog } from '../serve-options.ts';
import type { Timers } from '../timers.ts';
import { type ChildState, childStateJson, readChildState } from './child-state.ts';
import { attested } from './join-parent.ts';
import { Parent } from './parent.ts';
import { joinedRole, joinedSetting } from './role.ts';

export interface JoinedOptions {
  readonly plane: ControlPlane;
  readonly timers: Timers;
  readonly log: ServerLog;
  readonly version: string;
}

/** An authority of another control plane, to be had under a name. */
export interface JoinOrder {
  readonly name: string;
  /** HOST:PORT of the other control plane. */
  readonly address: string;
  /** For the first time. */
  readonly joinToken?: string | undefined;
}

/** One as lists show it. */
export interface JoinedShown {
  readonly name: string;
  readonly address: string;
  readonly trustDomain: string;
  /** Why it is not connected; undefined while it is. */
  readonly fault: string | undefined;
}

/** The control planes abroad that certify authorities of this one: other regions, other trust domains. */
export class JoinedAuthorities {
  readonly #options: JoinedOptions;
  readonly #followed = new Map<string, Parent>();
  #unfollow = () => {};

  private constructor(options: JoinedOptions) {
    this.#options = options;
  }

  /** Follows those that were joined before. */
  static async open(options: JoinedOptions): Promise<JoinedAuthorities> {
    const all = new JoinedAuthorities(options);
    await all.#align();
    // After the registry knows of it.
    all.#unfollow = options.plane.following.on(['joined'], async () => {
      await options.plane.registry.follow();
      await all.#align();
    });
    return all;
  }

  /** Follows those that are joined, and no others. */
  async #align(): Promise<void> {
    const { plane } = this.#options;
    const { joined } = plane.registry.abroad;
    for (const [name, { address }] of joined) {
      if (this.#followed.get(name)?.address === address) continue;
      const child = await readChildState(plane.store, joinedSetting(name));
      if (child === undefined)
        throw new InterlockError('state', name, `what is kept of the authority "${name}" is not whole`);
      this.#followed.get(name)?.stop();
      await this.#follow(name, child);
    }
    for (const name of this.#followed.keys()) if (!joined.has(name)) this.#drop(name);
  }

  #drop(name: string): void {
    this.#followed.get(name)?.stop();
    this.#followed.delete(name);
    this.#options.plane.superiors.delete(name);
  }

  list(): JoinedShown[] {
    return [...this.#options.plane.registry.abroad.joined].map(([name, { address, bundle }]) => ({
      name,
      address,
      trustDomain: bundle.trustDomain,
      fault: this.#followed.get(name)?.fault,
    }));
  }

  /**
   * Becomes a child of another control plane for the authorities of one name; gives the one that signs. What broke off
   * half-way is completed, without a token. Throws `conflict`, `usage`, `untrusted`, `forbidden`, `unavailable`.
   */
  async join(who: Actor, { name, address, joinToken }: JoinOrder): Promise<Slot> {
    const { authorities, registry } = this.#options.plane;
    const known = registry.abroad.joined.get(name);
    if (known === undefined) await this.#attest(who, { name, address, joinToken });
    // Away for so long that its SVID for the other control plane has ended.
    else if (joinToken !== undefined) await this.#attestAgain(who, { name, address, joinToken });
    else if (known.address !== address) await this.#readdress(who, name, address);
    const active = authorities.slots.find((slot) => slot.name === name && slot.state === 'active');
    return active ?? authorities.prepare(who, name);
  }

  async #attest(who: Actor, { name, address, joinToken }: JoinOrder): Promise<void> {
    const { plane, timers } = this.#options;
    const { registry, recorder, authorities } = plane;
    const refuseTaken = () => {
      if (!authorities.slots.some((slot) => slot.name === name) && !registry.abroad.joined.has(name)) return;
      throw new InterlockError('conflict', name, `there is an authority called "${name}": take another name`);
    };
    refuseTaken();
    const child = await attested({ vault: plane.keys.vault, address, joinToken, timers });
    const { local } = registry.bundles.current.value;
    const { parentBundle } = child;
    const bundle =
      parentBundle.trustDomain === local.trustDomain ? withoutAuthorities(parentBundle, local) : parentBundle;
    assertModest(bundle, `the control plane at ${address}`);
    if (bundle.x509Authorities.length === 0)
      throw new InterlockError(
        'conflict',
        address,
        `the control plane at ${address} has the root that this one has: it is no other region`,
      );
    await registry.step(async () => {
      refuseTaken();
      const entry = { address, bundle, crls: [], spiffeIds: [] };
      return {
        step: stepOf(plane, new Map([...registry.abroad.joined, [name, entry]]), [
          { change: 'put', kind: 'setting', name: joinedSetting(name), data: childStateJson(child) },
        ]),
        entry: recorder.entry(who, 'authority.join', name, { address, trustDomain: bundle.trustDomain }),
      };
    });
    await this.#follow(name, child);
  }

  async #attestAgain(who: Actor, { name, address, joinToken }: JoinOrder): Promise<void> {
    const { plane, timers } = this.#options;
    const before = await readChildState(plane.store, joinedSetting(name));
    const child = await attested({ vault: plane.keys.vault, address, joinToken, timers });
    if (before !== undefined && before.parentId !== child.parentId)
      throw new InterlockError(
        'conflict',
        name,
        `the control plane at ${address} is ${child.parentId}, and "${name}" is of ${before.parentId}`,
      );
    await this.#readdress(who, name, address, [
      { change: 'put', kind: 'setting', name: joinedSetting(name), data: childStateJson(child) },
    ]);
    if (before !== undefined) await plane.keys.vault.remove(before.keyId);
  }

  async #readdress(who: Actor, name: string, address: string, changes: Change[] = []): Promise<void> {
    const { plane } = this.#options;
    const { registry, recorder, store } = plane;
    // Nobody else writes what is kept of it meanwhile.
    this.#followed.get(name)?.stop();
    await registry.step(async () => {
      const known = registry.abroad.joined.get(name);
      return (
        known && {
          step: stepOf(plane, new Map([...registry.abroad.joined, [name, { ...known, address }]]), changes),
          entry: recorder.entry(who, 'authority.join', name, { address }),
        }
      );
    });
    const child = await readChildState(store, joinedSetting(name));
    if (child !== undefined) await this.#follow(name, child);
  }

  /** Forgets one, with its keys. Throws `conflict` while a cutover names it, or something of it is live. */
  async leave(who: Actor, name: string): Promise<void> {
    const { plane, timers } = this.#options;
    const { registry, recorder, store, cutovers, keys } = plane;
    if (!registry.abroad.joined.has(name))
      throw new InterlockError('not_found', name, `no authority called "${name}" was joined`);
    const cutover = cutovers.list().find(({ from, to }) => from === name || to === name);
    if (cutover !== undefined)
      throw new InterlockError(
        'conflict',
        name,
        `the cutover "${cutover.id}" names "${name}": finish it first`,
      );
    let gone: readonly Slot[] = [];
    await registry.step(async () => {
      const slots = registry.slots.current.value;
      gone = slots.filter((slot) => slot.name === name);
      const counts = await store.liveCounts(timers.now());
      const live = counts.filter(({ authority }) => gone.some(({ id }) => id === authority));
      if (live.some(({ kind }) => kind !== 'jwt'))
        throw new InterlockError(
          'conflict',
          name,
          `SVIDs of "${name}" are live: wait until they are replaced`,
        );
      const joined = new Map(registry.abroad.joined);
      joined.delete(name);
      const step = stepOf(plane, joined, [{ change: 'remove', kind: 'setting', name: joinedSetting(name) }]);
      return {
        step: { ...step, slots: slots.filter((slot) => slot.name !== name) },
        entry: recorder.entry(who, 'authority.leave', name),
      };
    });
    this.#drop(name);
    for (const slot of gone) await keys.destroy(slot);
  }

  /** An agent has confirmed something: what all of them have is confirmed abroad. */
  confirmBelow(): void {
    for (const followed of this.#followed.values()) followed.confirmBelow();
  }

  stop(): void {
    this.#unfollow();
    for (const followed of this.#followed.values()) followed.stop();
  }

  async #follow(name: string, child: ChildState): Promise<void> {
    const { plane, timers, log, version } = this.#options;
    const svid = { key: await plane.keys.vault.get(child.keyId), chain: child.chain };
    const { address } = plane.registry.abroad.joined.get(name) ?? { address: '' };
    const onLost = (why: string) =>
      plane.onWarning(
        `lost ${name}`,
        `what the authority "${name}" signs is accepted no more (${why}): its workloads get the identities of the authority before it. "interlock authority rotate --name ${name}" asks for another certificate`,
      );
    const parent = new Parent(child, svid, {
      address,
      timers,
      log,
      version,
      role: () => joinedRole(plane, name, onLost),
    });
    this.#followed.set(name, parent);
    plane.superiors.set(name, parent);
    parent.start(plane);
  }
}

function stepOf({ registry }: ControlPlane, joined: ReadonlyMap<string, Joined>, changes: Change[] = []) {
  return { abroad: { ...registry.abroad, joined }, changes };
}
