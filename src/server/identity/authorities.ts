import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  activated,
  BACK_DATE_MS,
  type Certificate,
  type Confirmations,
  generateKey,
  type JwtOrder,
  issueAuthority,
  keyIdOf,
  KEY_ALGORITHMS,
  revoked,
  signerOf,
  spkiOf,
  tainted,
} from '../../identity/index.ts';
import type { LiveCount, NewAuditEntry } from '../../store/index.ts';
import type { SignedToken } from '../agents/desk.ts';
import type { Timers } from '../timers.ts';
import type { CertifiedChain } from './certified-chain.ts';
import type { Actor, Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';
import { random, type SigningAuthority, type SigningKeys } from './signing-keys.ts';
import { certificateOf, type Slot, timesOf } from './slots.ts';

/** The authority that signs where a rule names none. */
export const DEFAULT_AUTHORITY = 'default';

/** Agents that an audit entry names. */
const MAX_NAMED = 64;

/** Where the certificate of a new intermediate comes from. */
export interface Superior {
  /** Gives the certificate for a new key, the intermediates above it, and the root. */
  sign(keyId: string): Promise<{ intermediates: readonly Certificate[]; root: Certificate }>;
  /** A JWT-SVID that it signs, where its rule lets this control plane speak for the ID. Throws `unavailable`, `forbidden`. */
  signJwt(order: JwtOrder): Promise<SignedToken>;
}

export interface AuthoritiesOptions {
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly keys: SigningKeys;
  readonly timers: Timers;
  /** Signs for this control plane where its root is elsewhere. */
  readonly superior?: Superior | undefined;
  /** Those that sign for single names: control planes abroad that this one has joined. */
  readonly superiors: ReadonlyMap<string, Superior>;
  /** Which bundles the connected agents have confirmed. */
  readonly confirmations: () => Confirmations;
  /** Tells agents to replace what an authority has signed. */
  readonly replace: (authority: string, overMs: number) => void;
  /** What is live under every authority. */
  readonly liveCounts: () => Promise<readonly LiveCount[]>;
}

/** The authorities of a control plane: which one signs, and every step of their lives. */
export class Authorities {
  readonly #options: AuthoritiesOptions;

  constructor(options: AuthoritiesOptions) {
    this.#options = options;
  }

  get slots(): readonly Slot[] {
    return this.#options.registry.slots.current.value;
  }

  /** The authority that signs under a name. Throws `conflict` where none does. */
  signing(name: string = DEFAULT_AUTHORITY): Promise<SigningAuthority> {
    const slot = this.slots.find((each) => each.name === name && each.state === 'active');
    if (slot !== undefined) return this.#options.keys.of(slot);
    throw new InterlockError(
      'conflict',
      name,
      `no authority called "${name}" is active: prepare one and activate it`,
    );
  }

  /** Who has certified an authority, where that is another control plane. */
  superiorOf({ name }: Pick<Slot, 'name'>): Superior | undefined {
    const { superior, superiors, registry } = this.#options;
    return registry.abroad.joined.has(name) ? superiors.get(name) : superior;
  }

  /** The slot of an ID, or of its first digits. Throws `not_found` or, for digits of several, `usage`. */
  slot(id: string): Slot {
    const found = this.slots.filter((slot) => slot.id.startsWith(id));
    const [slot] = found;
    if (slot !== undefined && found.length === 1) return slot;
    if (found.length > 1)
      throw new InterlockError('usage', id, `several authorities begin with "${id}": give more digits`);
    throw new InterlockError(
      'not_found',
      id,
      `there is no authority ${id}: "interlock authority show" lists them`,
    );
  }

  /** Makes a new authority and publishes its root; it does not sign yet. The first one of a name signs at once. */
  async prepare(who: Actor, name: string = DEFAULT_AUTHORITY): Promise<Slot> {
    this.#refusePrepared(name);
    // Outside the step: a superior that does not answer must not keep everything else waiting.
    const certified = await this.#certify(name);
    const jwt = await this.#jwtKey(name);
    let made: Slot | undefined;
    try {
      await this.#options.registry.step(async () => {
        this.#refusePrepared(name);
        const before = this.slots;
        const isFirst = !before.some((slot) => slot.name === name && slot.state === 'active');
        made = this.#slot(name, certified, jwt, isFirst);
        return { step: { slots: [...before, made] }, entry: this.#entry(who, 'authority.prepare', made) };
      });
    } catch (error) {
      // Somebody else was first, and nothing will ever name these keys.
      if (isInterlockError(error) && error.code === 'conflict')
        await this.#forget(certified.keyId, jwt?.keyId);
      throw error;
    }
    return defined(made);
  }

  #refusePrepared(name: string): void {
    if (!this.slots.some((slot) => slot.name === name && slot.state === 'prepared')) return;
    throw new InterlockError(
      'conflict',
      name,
      `an authority is already prepared for "${name}": activate that one`,
    );
  }

  /** Publishes an authority whose certificate was made elsewhere for a key of the vault. */
  async adopt(
    who: Actor,
    keyId: string,
    certified: { intermediates: readonly Certificate[]; root: Certificate },
    name: string = DEFAULT_AUTHORITY,
  ): Promise<Slot> {
    const jwt = await this.#jwtKey(name);
    let made: Slot | undefined;
    await this.#options.registry.step(async () => {
      const before = this.slots;
      if (before.some(({ id }) => id === keyId))
        throw new InterlockError('conflict', keyId, `the authority ${keyId} was imported before`);
      const isFirst = !before.some((slot) => slot.name === name && slot.state === 'active');
      made = this.#slot(name, { keyId, ...certified }, jwt, isFirst);
      return { step: { slots: [...before, made] }, entry: this.#entry(who, 'authority.import', made) };
    });
    return defined(made);
  }

  /**
   * Lets a prepared authority sign; the one that signed becomes OLD. Throws `conflict` while it is not confirmed, unless
   * forced: `without` are then the agents that it goes on without, for the audit log.
   */
  async activate(who: Actor, id: string, force = false, without: readonly string[] = []): Promise<Slot> {
    const { keys, timers, confirmations } = this.#options;
    const details = { force, ...(without.length === 0 ? {} : { without: without.slice(0, MAX_NAMED) }) };
    return this.#move(who, id, 'authority.activate', details, async (slots, slot) => {
      // Its keys must be usable before it is the one.
      await keys.of(slot);
      const now = timers.now();
      return activated(slots, slot.id, { now, confirmations: confirmations(), force }).map((each) =>
        each.id === slot.id
          ? { ...each, activatedAt: now, ...(without.length === 0 ? {} : { unconfirmed: true as const }) }
          : each,
      );
    });
  }

  /** Prepares an authority where none is, and lets it take over once every connected agent has confirmed it. */
  async rotate(who: Actor, name: string = DEFAULT_AUTHORITY): Promise<Slot> {
    const prepared = this.slots.find((slot) => slot.name === name && slot.state === 'prepared');
    const { id, state } = prepared ?? (await this.prepare(who, name));
    if (state === 'active') return this.slot(id);
    return this.#move(who, id, 'authority.rotate', {}, async (slots) =>
      slots.map((each) => (each.id === id ? { ...each, wanted: true } : each)),
    );
  }

  /** Marks an authority as no longer to be relied on, and has what it signed replaced over a time. */
  async taint(who: Actor, id: string, overMs: number): Promise<Slot> {
    const { timers, confirmations, replace } = this.#options;
    const slot = await this.#move(who, id, 'authority.taint', { overMs }, async (slots, { id }) =>
      tainted(slots, id, { now: timers.now(), confirmations: confirmations() }).map((each) =>
        each.id === id && each.taintOverMs === undefined ? { ...each, taintOverMs: overMs } : each,
      ),
    );
    replace(slot.id, overMs);
    return slot;
  }

  /**
   * Takes a tainted authority's root out of the bundle: nothing that it signed is accepted any more. Throws `conflict`
   * while something of it is live, unless forced; forced, it is tainted by the same step where it was not.
   */
  async revoke(who: Actor, id: string, force = false): Promise<Slot> {
    const { timers, confirmations, replace } = this.#options;
    let wasTainted = true;
    const gone = await this.#move(who, id, 'authority.revoke', { force }, async (slots, slot) => {
      refuseShared(slots, slot);
      wasTainted = slot.taintedAt !== undefined;
      const now = timers.now();
      if (!force) await this.#refuseLive(slot);
      else if (slot.state === 'active') throw signs(slot);
      else if (!wasTainted)
        return revoked(tainted(slots, slot.id, { now, confirmations: confirmations() }), slot.id, now);
      return revoked(slots, slot.id, now);
    });
    if (!wasTainted) replace(gone.id, 0);
    return gone;
  }

  async #refuseLive({ id, taintedAt }: Slot): Promise<void> {
    const live = (await this.#options.liveCounts()).filter(({ authority }) => authority === id);
    const all = live.reduce((sum, { count }) => sum + count, 0);
    if (all === 0) return;
    const kinds = live.map(({ kind, count }) => `${count} ${kind}`).join(', ');
    const first =
      taintedAt === undefined ? 'taint it first, so that they are replaced' : 'wait until they are replaced';
    throw new InterlockError(
      'conflict',
      id,
      `${all === 1 ? '1 SVID' : `${all} SVIDs`} of ${id} ${all === 1 ? 'is' : 'are'} live (${kinds}) and would be refused at once: ${first}, or revoke it with --force`,
    );
  }

  /** Forgets an authority of which nothing is in force any more, with its keys. */
  async prune(who: Actor, id: string): Promise<void> {
    const slot = this.slot(id);
    if (slot.state === 'active')
      throw new InterlockError('conflict', slot.id, `${slot.id} is the authority that signs`);
    await this.#move(who, id, 'authority.prune', {}, async (slots) =>
      slots.filter((each) => each.id !== slot.id),
    );
    await this.#options.keys.destroy(slot);
  }

  async #move(
    who: Actor,
    id: string,
    act: string,
    details: object,
    move: (slots: readonly Slot[], slot: Slot) => Promise<readonly Slot[]>,
  ): Promise<Slot> {
    let slot = this.slot(id);
    await this.#options.registry.step(async () => {
      slot = this.slot(id);
      const slots = await move(this.slots, slot);
      const entry = this.#entry(who, act, slot, details);
      slot = slots.find((each) => each.id === slot.id) ?? slot;
      return { step: { slots }, entry };
    });
    return slot;
  }

  /** A new key, and the certificate for it. */
  async #certify(name: string): Promise<CertifiedChain> {
    const { registry, keys, timers } = this.#options;
    const { domain, abroad } = registry;
    const superior = this.superiorOf({ name });
    const key = generateKey(domain.algorithm);
    // The key is kept before anything says that it is there.
    const keyId = await keys.vault.put(key);
    if (domain.root !== 'self' || abroad.joined.has(name)) {
      if (superior === undefined) {
        throw new InterlockError(
          'conflict',
          domain.trustDomain,
          'the root is kept offline: make a request with "interlock authority csr", sign it there, and import it',
        );
      }
      try {
        return { keyId, ...(await superior.sign(keyId)) };
      } catch (error) {
        // It is tried again with another key, for days if need be.
        await keys.vault.remove(keyId);
        throw error;
      }
    }
    const now = timers.now();
    const root = await issueAuthority({
      trustDomain: domain.trustDomain,
      notBefore: now - BACK_DATE_MS,
      notAfter: now + domain.authorityTtl,
      signer: signerOf(key),
      random,
    });
    return { keyId, intermediates: [], root };
  }

  /** A new key for JWT-SVIDs, where the authorities of the name sign such. */
  async #jwtKey(name: string): Promise<Slot['jwt']> {
    const { registry, keys } = this.#options;
    const { algorithm, prefixes } = registry.domain;
    // Verifiers of tokens know no path prefixes: a limited authority would speak for the whole trust domain.
    if (prefixes !== undefined || registry.abroad.joined.has(name)) return undefined;
    const key = generateKey(KEY_ALGORITHMS[algorithm].jwt === undefined ? 'ec-p256' : algorithm);
    return { keyId: await keys.vault.put(key), spki: spkiOf(key) };
  }

  async #forget(...keyIds: readonly (string | undefined)[]): Promise<void> {
    for (const keyId of keyIds) if (keyId !== undefined) await this.#options.keys.vault.remove(keyId);
  }

  #slot(
    name: string,
    { keyId, intermediates, root }: CertifiedChain,
    jwt: Slot['jwt'],
    isFirst: boolean,
  ): Slot {
    const { registry, timers } = this.#options;
    const certificate = intermediates[0] ?? root;
    if (keyIdOf(certificate.spki) !== keyId)
      throw new InterlockError('untrusted', keyId, `the certificate is for another key than ${keyId}`);
    const { algorithm } = registry.domain;
    const joined = registry.abroad.joined.get(name);
    const { trustDomain } = joined?.bundle ?? registry.domain;
    if (certificate.spiffeId !== `spiffe://${trustDomain}`)
      throw new InterlockError(
        'untrusted',
        keyId,
        `the certificate is not of the trust domain ${trustDomain}`,
      );
    const now = timers.now();
    return {
      ...timesOf({ intermediates, root }),
      id: keyId,
      name,
      state: isFirst ? 'active' : 'prepared',
      algorithm,
      intermediates,
      root,
      jwt,
      preparedAt: now,
      ...(isFirst ? { activatedAt: now } : {}),
      publishedIn: registry.bundles.current.version + 1,
    };
  }

  #entry(who: Actor, act: string, slot: Slot, details: object = {}): NewAuditEntry {
    const { serial, notAfter } = certificateOf(slot);
    // The values are plain data.
    const all = { name: slot.name, serial, notAfter, ...details } as Record<
      string,
      string | number | boolean
    >;
    return this.#options.recorder.entry(who, act, slot.id, all);
  }
}

/** A root that another authority needs stays in the bundle. */
function refuseShared(slots: readonly Slot[], slot: Slot): void {
  const shared = slots.find(
    (each) => each.id !== slot.id && each.revokedAt === undefined && each.root.der.equals(slot.root.der),
  );
  if (shared === undefined) return;
  throw new InterlockError(
    'conflict',
    slot.id,
    `${slot.id} and ${shared.id} have the same root, which must stay in the bundle: the owner of the root revokes the certificate of ${slot.id}`,
  );
}

function signs({ id }: Slot): InterlockError {
  return new InterlockError(
    'conflict',
    id,
    `${id} is the authority that signs: let another one take its place first ("interlock authority rotate", or "activate --force" where agents cannot be waited for)`,
  );
}

function defined(slot: Slot | undefined): Slot {
  if (slot === undefined) throw new TypeError('the step was not taken');
  return slot;
}
