import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Bundle,
  type Bundles,
  type Certificate,
  formatBundle,
  parseCertificate,
  sameAuthorities,
} from '../../identity/index.ts';
import type { BundleState, FromServer, RevocationState } from '../../proto/index.ts';
import type { Superior } from '../identity/authorities.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import { certificateOf, type Slot } from '../identity/slots.ts';
import type { ServerLog } from '../serve.ts';
import type { Timers } from '../timers.ts';
import { bundlesOf, type ChildState, childStateJson, PARENT_SETTING, parentBundleOf } from './child-state.ts';
import { certifiedBy } from './join-parent.ts';
import { type ChildSvid, ParentClient } from './parent-client.ts';
import { ParentLink } from './parent-link.ts';

/** How long until a failed renewal, or a failed publication, is tried again. */
const RETRY_MS = 30_000;

export interface ParentOptions {
  readonly address: string;
  readonly timers: Timers;
  readonly log: ServerLog;
  readonly version: string;
}

/** The parent control plane: its states are followed, and it certifies the authorities of this one. */
export class Parent implements Superior {
  readonly #options: ParentOptions;
  readonly #link: ParentLink;
  #plane: ControlPlane | undefined;
  #state: ChildState;
  #svid: ChildSvid;
  /** Versions of the parent, and the version of our own that holds each. */
  #seen = { bundles: 0n, rules: 0n, revocations: 0n };
  #own = { bundles: 0, revocations: 0 };
  #confirmed = { bundles: 0n, rules: 0n, revocations: 0n };
  #published: Bundle | undefined;
  /** Authorities whose SVIDs are to be replaced once they sign no more, and over which time. */
  readonly #taints = new Map<string, number>();
  #turn: Promise<unknown> = Promise.resolve();
  #undo: (() => void)[] = [];

  constructor(state: ChildState, svid: ChildSvid, options: ParentOptions) {
    this.#state = state;
    this.#svid = svid;
    this.#options = options;
    this.#link = new ParentLink({
      timers: options.timers,
      version: options.version,
      client: () => this.#client(),
      onMessage: (message) => this.#take(message),
      onOnline: (error) => this.#online(error),
    });
  }

  /** Follows the parent from now on. */
  start(plane: ControlPlane): void {
    this.#plane = plane;
    this.#link.start();
    this.#armRenewal();
    this.#undo.push(
      plane.registry.slots.subscribe(({ value }) => this.#taintOld(value)),
      plane.registry.bundles.subscribe(() => this.#publish()),
    );
  }

  stop(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#link.close();
  }

  /** An agent below has confirmed something: what all of them have is confirmed to the parent. */
  confirmBelow(): void {
    const oldest = this.#plane?.confirmations().oldest ?? Number.POSITIVE_INFINITY;
    if (oldest < this.#own.bundles) return;
    const next = { ...this.#seen };
    const keys = ['bundles', 'rules', 'revocations'] as const;
    if (keys.every((key) => next[key] === this.#confirmed[key])) return;
    this.#confirmed = next;
    this.#link.confirm(next);
  }

  async sign(keyId: string): Promise<{ intermediates: readonly Certificate[]; root: Certificate }> {
    const plane = this.#running();
    const client = this.#client();
    try {
      const key = await plane.keys.vault.get(keyId);
      const answer = await client.signAuthority(key, plane.registry.domain.authorityTtl);
      const certified = certifiedBy(answer.chain, parentBundleOf(answer.bundles).x509Authorities);
      const { prefixes = [] } = certified.intermediates[0] ?? certified.root;
      const own = plane.registry.domain.prefixes ?? [];
      if (JSON.stringify([...prefixes].sort()) !== JSON.stringify([...own].sort())) {
        throw new InterlockError(
          'conflict',
          plane.registry.domain.trustDomain,
          `the parent now limits this authority to ${prefixes.join(', ') || 'nothing'}, not ${own.join(', ') || 'nothing'}: its own IDs would change; set up a new state directory`,
        );
      }
      return certified;
    } finally {
      client.close();
    }
  }

  #client(): ParentClient {
    const { address, timers } = this.#options;
    const { parentBundle, parentId: id } = this.#state;
    const bundles: Bundles = new Map([[parentBundle.trustDomain, parentBundle]]);
    const crls = this.#plane?.registry.upstream.crls ?? [];
    return new ParentClient({ address, id, bundles, crls, now: () => timers.now(), svid: this.#svid });
  }

  #online(error: InterlockError | undefined): void {
    const { log, address } = this.#options;
    this.#confirmed = { bundles: 0n, rules: 0n, revocations: 0n };
    this.#published = undefined;
    if (error === undefined) {
      log.info({ parent: address }, 'connected to the parent');
      this.#publish();
    } else log.warn({ parent: address, error }, 'not connected to the parent');
  }

  #take(message: FromServer['message']): void {
    const work = async () => {
      switch (message.case) {
        case 'bundles':
          await this.#takeBundles(message.value);
          break;
        case 'revocations':
          await this.#takeRevocations(message.value);
          break;
        case 'rules':
          this.#seen.rules = message.value.version;
          break;
        case 'replace':
          await this.#replace(message.value.authority, message.value.overMs);
          break;
        default:
      }
      this.confirmBelow();
    };
    this.#turn = this.#turn.then(work).catch((error: unknown) => {
      this.#options.log.error({ error }, 'what the parent sent could not be taken');
    });
  }

  async #takeBundles(state: BundleState): Promise<void> {
    const { registry, recorder, children, isPeer } = this.#running();
    const bundles = bundlesOf(state);
    const parentBundle = parentBundleOf(state);
    const isOwn = state.trustDomain === registry.domain.trustDomain;
    await registry.step(async () => {
      const foreign = new Map(
        [...registry.foreignBundles].filter(([name]) => children.owners.has(name) || isPeer(name)),
      );
      for (const [name, bundle] of bundles) {
        if (name !== registry.domain.trustDomain && !foreign.has(name)) foreign.set(name, bundle);
      }
      const upstream = isOwn ? { ...registry.upstream, bundle: parentBundle } : registry.upstream;
      this.#state = { ...this.#state, parentBundle };
      return {
        step: {
          foreign,
          upstream,
          changes: [
            { change: 'put', kind: 'setting', name: PARENT_SETTING, data: childStateJson(this.#state) },
          ],
        },
        entry: recorder.entry('parent', 'parent.bundles', state.trustDomain, {
          version: Number(state.version),
        }),
      };
    });
    this.#seen.bundles = state.version;
    this.#own.bundles = registry.bundles.current.version;
  }

  async #takeRevocations({ version, crls, spiffeIds }: RevocationState): Promise<void> {
    const { registry, recorder } = this.#running();
    await registry.step(async () => ({
      step: { upstream: { ...registry.upstream, crls: crls.map((crl) => Buffer.from(crl)), spiffeIds } },
      entry: recorder.entry('parent', 'parent.revocations', registry.domain.trustDomain, {
        crls: crls.length,
        spiffeIds: spiffeIds.length,
      }),
    }));
    this.#seen.revocations = version;
    this.#own.revocations = registry.revocations.current.version;
  }

  /** The parent's authority is tainted: what it certified here gives way, and then what that has signed. */
  async #replace(authority: string, overMs: number): Promise<void> {
    const { authorities } = this.#running();
    const certified = authorities.slots.filter(
      (slot) => slot.state === 'active' && certificateOf(slot).authorityKeyId === authority,
    );
    for (const slot of certified) {
      this.#taints.set(slot.id, overMs);
      await authorities.rotate('parent', slot.name);
    }
    await this.#renew();
  }

  #taintOld(slots: readonly Slot[]): void {
    for (const { id, state } of slots) {
      const overMs = this.#taints.get(id);
      if (overMs === undefined || state !== 'old') continue;
      this.#taints.delete(id);
      this.#running()
        .authorities.taint('parent', id, overMs)
        .catch((error: unknown) => this.#options.log.error({ error }, 'an authority could not be tainted'));
    }
  }

  /** A control plane of its own trust domain makes its bundle known to the parent, whenever it changes. */
  #publish(): void {
    const plane = this.#running();
    const { ownBundle, domain } = plane.registry;
    if (domain.trustDomain === this.#state.parentBundle.trustDomain) return;
    if (this.#published !== undefined && sameAuthorities(this.#published, ownBundle)) return;
    this.#published = ownBundle;
    const client = this.#client();
    client
      .publishBundle(domain.trustDomain, formatBundle(ownBundle))
      .catch((error: unknown) => {
        this.#published = undefined;
        this.#options.log.warn({ error }, 'the bundle could not be published to the parent');
        this.#undo.push(this.#options.timers.after(RETRY_MS, () => this.#publish()));
      })
      .finally(() => client.close());
  }

  #armRenewal(): void {
    const { timers } = this.#options;
    const [leaf] = this.#svid.chain;
    if (leaf === undefined) return;
    const { notBefore, notAfter } = parseCertificate(leaf);
    const half = notBefore + ((notAfter - notBefore) / 2) * (0.9 + 0.2 * timers.random());
    const wait = Math.max(half - timers.now(), 0);
    this.#undo.push(timers.after(wait, () => void this.#renewAgain()));
  }

  async #renewAgain(): Promise<void> {
    try {
      await this.#renew();
      this.#armRenewal();
    } catch (error) {
      this.#options.log.warn({ error }, 'the SVID for the parent could not be renewed');
      this.#undo.push(this.#options.timers.after(RETRY_MS, () => void this.#renewAgain()));
      if (!isInterlockError(error)) throw error;
    }
  }

  async #renew(): Promise<void> {
    const { store, keys } = this.#running();
    const svid = await this.#link.renew();
    const keyId = await keys.vault.put(svid.key);
    const before = this.#state.keyId;
    this.#state = { ...this.#state, keyId, chain: svid.chain };
    await store.commit([
      { change: 'put', kind: 'setting', name: PARENT_SETTING, data: childStateJson(this.#state) },
    ]);
    this.#svid = svid;
    await keys.vault.remove(before);
    this.#link.reconnect();
  }

  #running(): ControlPlane {
    if (this.#plane === undefined) throw new TypeError('the control plane is not open yet');
    return this.#plane;
  }
}
