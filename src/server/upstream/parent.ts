import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Bundle,
  type Bundles,
  type Certificate,
  formatBundle,
  type JwtOrder,
  parseCertificate,
  sameAuthorities,
} from '../../identity/index.ts';
import type { BundleState, FromServer, RevocationState } from '../../proto/index.ts';
import type { BelowRevocations, SignedToken } from '../agents/desk.ts';
import type { Superior } from '../identity/authorities.ts';
import { belowJson } from '../identity/below.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { ServerLog } from '../serve-options.ts';
import { Pace } from '../pace.ts';
import type { Timers } from '../timers.ts';
import { type ChildState, ownPart, readChildState } from './child-state.ts';
import { assertSigns, checkedSvid } from './certified.ts';
import { certifiedBy } from './join-parent.ts';
import { type ChildSvid, ParentClient } from './parent-client.ts';
import { Inbox } from './inbox.ts';
import { ParentLink } from './parent-link.ts';
import { Drained } from './drained.ts';
import { Publication } from './publication.ts';
import { Replacements } from './replacements.ts';
import { parentRole, type Role } from './role.ts';
import { Turns } from './turns.ts';

/** How long until a failed renewal, or a failed publication, is tried again. */
const RETRY_MS = 30_000;
/** How long until a publication is tried again that the other side's rules do not allow. */
const REFUSED_MS = 600_000;
/** How often what one abroad sends is taken: most of it goes to every agent, and from there to every workload. */
const PACE = { burst: 32, everyMs: 5000 };

export interface ParentOptions {
  readonly address: string;
  readonly timers: Timers;
  readonly log: ServerLog;
  readonly version: string;
  /** What it is to this control plane: the parent of all of it where absent. */
  readonly role?: ((plane: ControlPlane) => Role) | undefined;
}

const NOT_YET = 'it has not connected yet';

/** Another control plane that certifies authorities of this one, and whose states are followed: the parent, or one abroad. */
export class Parent implements Superior {
  readonly #options: ParentOptions;
  /** The lasting stream: of the control plane that leads, where several have the same state. */
  #link: ParentLink | undefined;
  #revocations: Publication<BelowRevocations> | undefined;
  #drained: Drained | undefined;
  /** Of one that does not lead: for what it needs signed. */
  #aside: ParentClient | undefined;
  /** JWT-SVIDs that the parent is asked for at once: it takes 64 calls. */
  readonly #jwts = new Turns(32, 4096);
  #plane: ControlPlane | undefined;
  #role: Role | undefined;
  #fault: string | undefined = NOT_YET;
  #state: ChildState;
  #svid: ChildSvid;
  /** Versions of the parent, and the version of our own that holds each. */
  #seen = { bundles: 0n, rules: 0n, revocations: 0n };
  #own = { bundles: 0, revocations: 0 };
  #confirmed = { bundles: 0n, rules: 0n, revocations: 0n };
  #published: Bundle | undefined;
  readonly #inbox: Inbox;
  readonly #replacements: Replacements;
  #isStopped = false;
  #undo: (() => void)[] = [];
  readonly #ends: (() => void)[] = [];

  constructor(state: ChildState, svid: ChildSvid, options: ParentOptions) {
    this.#state = state;
    this.#svid = svid;
    this.#options = options;
    const { timers, log } = options;
    this.#inbox = new Inbox({
      timers,
      take: (message) => this.#takeOne(message),
      onFailed: (error) =>
        log.error({ error, from: this.#role?.who }, 'what the parent sent could not be taken'),
      // A parent is relied on; of one abroad nothing is taken faster than agents are to be told.
      pace: options.role && new Pace({ timers, ...PACE }),
    });
    this.#replacements = new Replacements({
      timers,
      log,
      plane: () => this.#running(),
      certifies: (name) => this.#asRole().certifies(name),
      leaf: () => this.#svid.chain[0],
      renew: () => this.#renew(),
      watch: (slot) => this.#drained?.watch(slot),
      retryMs: RETRY_MS,
    });
  }

  /** HOST:PORT. */
  get address(): string {
    return this.#options.address;
  }

  /** Why it is not connected; undefined while it is, or while another control plane of the same state leads. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Follows the parent from now on, while this control plane leads. */
  start(plane: ControlPlane): void {
    this.#plane = plane;
    this.#role = (this.#options.role ?? parentRole)(plane);
    this.#ends.push(
      plane.leadership.onChange((isLeader) => this.#lead(isLeader)),
      plane.following.on(['setting'], () => this.#readState()),
    );
    if (plane.leadership.isLeader) this.#open(plane);
    else this.#fault = undefined;
  }

  stop(): void {
    this.#isStopped = true;
    this.#inbox.stop();
    for (const end of this.#ends.splice(0)) end();
    this.#close();
  }

  #lead(isLeader: boolean): void {
    this.#close();
    if (!isLeader) return;
    // What the one before has made of it: its SVID may be a newer one.
    this.#readState()
      .catch((error: unknown) =>
        this.#options.log.error({ error }, 'what is kept of the parent cannot be read'),
      )
      .finally(() => {
        const plane = this.#running();
        if (plane.leadership.isLeader && !this.#isStopped && this.#link === undefined) this.#open(plane);
      });
  }

  #open({ registry }: ControlPlane): void {
    const { timers, version, log } = this.#options;
    const link = new ParentLink({
      timers,
      version,
      client: () => this.#client(),
      onMessage: (message) => this.#inbox.put(message),
      onOnline: (error) => this.#online(error),
    });
    const drained = new Drained({
      timers,
      plane: () => this.#running(),
      tell: (serials) => link.dropped(serials),
    });
    const revocations = new Publication<BelowRevocations>({
      timers,
      state: () => link.client && this.#asRole().revoked(this.#state.parentBundle.trustDomain),
      isSame: (one, other) => JSON.stringify(belowJson(one)) === JSON.stringify(belowJson(other)),
      tell: (revoked) => this.#tellRevocations(revoked),
      onFailed: (error) => log.warn({ error }, 'what is revoked could not be told to the parent'),
    });
    [this.#link, this.#drained, this.#revocations] = [link, drained, revocations];
    this.#fault = NOT_YET;
    link.start();
    this.#armRenewal();
    this.#undo.push(
      registry.slots.subscribe(({ value }) => this.#replacements.look(value)),
      registry.bundles.subscribe(() => this.#publish()),
      registry.revocations.subscribe(() => revocations.look()),
      () => revocations.stop(),
      () => drained.stop(),
      () => link.close(),
    );
  }

  #close(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#inbox.clear();
    this.#replacements.clear();
    [this.#link, this.#drained, this.#revocations] = [undefined, undefined, undefined];
    this.#seen = { bundles: 0n, rules: 0n, revocations: 0n };
    this.#confirmed = { bundles: 0n, rules: 0n, revocations: 0n };
    this.#fault = undefined;
    this.#dropAside();
  }

  #dropAside(): void {
    this.#aside?.close();
    this.#aside = undefined;
  }

  /** Takes over what another control plane of the same state has kept of the parent. */
  async #readState(): Promise<void> {
    const { store, keys } = this.#running();
    const state = await readChildState(store, this.#asRole().setting);
    if (state === undefined || this.#link !== undefined) return;
    if (state.keyId !== this.#state.keyId) {
      this.#svid = { key: await keys.vault.get(state.keyId), chain: state.chain };
      this.#dropAside();
    } else if (!sameAuthorities(state.parentBundle, this.#state.parentBundle)) this.#dropAside();
    this.#state = state;
  }

  /** An agent below has confirmed something: what all of them have is confirmed to the parent. */
  confirmBelow(): void {
    const oldest = this.#plane?.confirmations().oldest ?? Number.POSITIVE_INFINITY;
    if (oldest < this.#own.bundles) return;
    const next = { ...this.#seen };
    const keys = ['bundles', 'rules', 'revocations'] as const;
    if (keys.every((key) => next[key] === this.#confirmed[key])) return;
    this.#confirmed = next;
    this.#link?.confirm(next);
  }

  async sign(keyId: string): Promise<{ intermediates: readonly Certificate[]; root: Certificate }> {
    const plane = this.#running();
    const client = this.#client();
    try {
      const key = await plane.keys.vault.get(keyId);
      const answer = await client.signAuthority(key, plane.registry.domain.authorityTtl);
      const certified = certifiedBy(answer.chain, ownPart(answer.bundles).x509Authorities);
      this.#asRole().check(certified);
      await assertSigns(key, certified, this.#options.timers.now());
      // What is signed is of use where its root is known: the stream may bring that later than this answer.
      if (answer.bundles !== undefined && !this.#asRole().knows(certified.root))
        await this.#takeBundles(answer.bundles);
      return certified;
    } finally {
      client.close();
    }
  }

  /** A JWT-SVID, signed by the parent or one above it. Throws `unavailable` while the parent is away, `forbidden`. */
  signJwt(order: JwtOrder): Promise<SignedToken> {
    return this.#jwts.take(() => {
      const client = this.#link === undefined ? (this.#aside ??= this.#client()) : this.#link.client;
      if (client !== undefined) return client.signJwt(order);
      const { address } = this.#options;
      throw new InterlockError(
        'unavailable',
        'parent',
        `no JWT-SVID for ${order.spiffeId}: the parent at ${address} signs those of this authority, and it is not connected`,
      );
    });
  }

  async #tellRevocations(revoked: BelowRevocations): Promise<void> {
    const client = this.#link?.client;
    if (client === undefined)
      throw new InterlockError('unavailable', 'parent', 'the parent is not connected');
    const skipped = await client.publishRevocations(revoked);
    if (skipped > 0)
      this.#options.log.warn(
        { skipped },
        'the parent did not take all that is revoked here: it holds for this authority alone',
      );
  }

  #client(): ParentClient {
    const { address, timers } = this.#options;
    const { parentBundle, parentId: id } = this.#state;
    const bundles: Bundles = new Map([[parentBundle.trustDomain, parentBundle]]);
    const crls = this.#role?.crls() ?? [];
    return new ParentClient({ address, id, bundles, crls, now: () => timers.now(), svid: this.#svid });
  }

  #online(error: InterlockError | undefined): void {
    const { log, address } = this.#options;
    this.#fault = error?.message;
    this.#confirmed = { bundles: 0n, rules: 0n, revocations: 0n };
    this.#published = undefined;
    this.#revocations?.forget();
    if (error === undefined) {
      log.info({ parent: address }, 'connected to the parent');
      this.#publish();
      this.#revocations?.look();
    } else log.warn({ parent: address, error }, 'not connected to the parent');
  }

  async #takeOne(message: FromServer['message']): Promise<void> {
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
        await this.#replacements.replace(message.value.authority, message.value.overMs);
        break;
      default:
    }
    this.confirmBelow();
  }

  async #takeBundles(state: BundleState): Promise<void> {
    const { registry, recorder } = this.#running();
    const role = this.#asRole();
    await registry.step(async () => {
      const step = role.bundles(state);
      if (step === undefined) return undefined;
      this.#state = { ...this.#state, parentBundle: ownPart(state) };
      return {
        step: { ...step, changes: [role.keep(this.#state)] },
        entry: recorder.entry(role.who, 'parent.bundles', state.trustDomain, {
          version: Number(state.version),
        }),
      };
    });
    this.#seen.bundles = state.version;
    this.#own.bundles = registry.bundles.current.version;
    role.taken();
  }

  async #takeRevocations({ version, crls, spiffeIds }: RevocationState): Promise<void> {
    const { registry, recorder } = this.#running();
    const role = this.#asRole();
    await registry.step(async () => {
      const step = role.revocations(
        crls.map((crl) => Buffer.from(crl)),
        spiffeIds,
      );
      return (
        step && {
          step,
          entry: recorder.entry(role.who, 'parent.revocations', registry.domain.trustDomain, {
            crls: crls.length,
            spiffeIds: spiffeIds.length,
          }),
        }
      );
    });
    this.#seen.revocations = version;
    this.#own.revocations = registry.revocations.current.version;
    role.taken();
  }

  /** A control plane of its own trust domain makes its bundle known to the parent, whenever it changes. */
  #publish(): void {
    const plane = this.#running();
    const { domain } = plane.registry;
    const ownBundle = this.#asRole().published(this.#state.parentBundle);
    if (ownBundle === undefined) return;
    if (this.#published !== undefined && sameAuthorities(this.#published, ownBundle)) return;
    this.#published = ownBundle;
    const client = this.#client();
    client
      .publishBundle(domain.trustDomain, formatBundle(ownBundle))
      .catch((error: unknown) => {
        this.#published = undefined;
        this.#options.log.warn({ error }, 'the bundle could not be published to the parent');
        // A rule of the other side may come to allow it.
        const isRefused = isInterlockError(error) && error.code === 'forbidden';
        const wait = isRefused ? REFUSED_MS : RETRY_MS;
        this.#undo.push(this.#options.timers.after(wait, () => this.#publish()));
      })
      .finally(() => client.close());
  }

  #armRenewal(): void {
    const { timers } = this.#options;
    const [leaf] = this.#svid.chain;
    if (leaf === undefined) return;
    const { notBefore, notAfter } = parseCertificate(leaf);
    const half = notBefore + ((notAfter - notBefore) / 2) * (0.9 + 0.2 * timers.random());
    // Whatever the other one makes of its times, it is asked once in a while.
    const wait = Math.max(half - timers.now(), RETRY_MS);
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
    const link = this.#link;
    // Another control plane leads by now, and renews it.
    if (link === undefined) return;
    const svid = checkedSvid(await link.renew(), this.#state.spiffeId, this.#options.timers.now());
    const keyId = await keys.vault.put(svid.key);
    const before = this.#state.keyId;
    this.#state = { ...this.#state, keyId, chain: svid.chain };
    await store.commit([this.#asRole().keep(this.#state)]);
    this.#svid = svid;
    await keys.vault.remove(before);
    link.reconnect();
  }

  #asRole(): Role {
    if (this.#role === undefined) throw new TypeError('the control plane is not open yet');
    return this.#role;
  }

  #running(): ControlPlane {
    if (this.#plane === undefined) throw new TypeError('the control plane is not open yet');
    return this.#plane;
  }
}
