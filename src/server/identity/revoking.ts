import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { CRL_REASONS, type CrlReason } from '../../identity/index.ts';
import type { Change, IdentityStore, IssuedFilter, IssuedSvid, Revocation } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import type { Actor, Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';
import type { SigningKeys } from './signing-keys.ts';
import type { Slot } from './slots.ts';

/** How long a CRL is good for, and when it is made anew; milliseconds. */
const CRL_LIFE_MS = 24 * 3_600_000;
export const CRL_RENEWAL_MS = CRL_LIFE_MS / 2;
/** Serials that one page of the list of what was issued holds. */
const PAGE = 5000;

export interface RevokingOptions {
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly store: IdentityStore;
  readonly keys: SigningKeys;
  readonly timers: Timers;
  /** An ID, and what it is called where a cutover has moved it: all of them are one workload. */
  readonly namesOf: (id: SpiffeId) => readonly SpiffeId[];
}

/** Revokes identities and certificates, and keeps the CRLs that say so. */
export class Revoking {
  readonly #options: RevokingOptions;

  constructor(options: RevokingOptions) {
    this.#options = options;
    options.registry.makeCrls = (list, slots, number) => this.#crlsOf(list, slots, number);
  }

  /** Nothing is issued for the ID until it is allowed again, and its certificates are on CRLs. Gives their number. */
  async revokeId(who: Actor, spiffeId: SpiffeId, reason: string): Promise<number> {
    const { timers, namesOf } = this.#options;
    const names = namesOf(spiffeId);
    const at = timers.now();
    const added = names.map((value): Revocation => ({ what: 'id', value, authority: '', reason, at }));
    // In force for new ones first: what is being issued meanwhile is refused, or on the list that is read next.
    await this.#add(who, 'identity.revoke', spiffeId, reason, async () => ({ added }));
    let count = 0;
    for (const name of names)
      count += await this.#revokeAll(who, 'identity.revoke-certificates', name, reason, { spiffeId: name });
    return count;
  }

  /** Revokes one certificate. Throws `not_found` for one that is not known, or not valid any more. */
  async revokeSerial(who: Actor, serial: string, reason: string): Promise<void> {
    if ((await this.#revokeAll(who, 'certificate.revoke', serial, reason, { serial })) > 0) return;
    const { store, recorder } = this.#options;
    const [known] = await recorder.within(store.issued({ serial, limit: 1 }));
    throw new InterlockError('not_found', serial, `${whyNot(known)}: ${serial}; nothing was revoked`);
  }

  /** Revokes an agent's certificate and all that was issued through it, and lets it act no more. */
  async revokeAgent(who: Actor, id: string, reason: string, also: readonly Change[]): Promise<number> {
    await this.#add(who, 'agent.evict', id, reason, async () => ({ added: [], also }));
    const own = await this.#revokeAll(who, 'agent.revoke-own', id, reason, { spiffeId: id });
    return own + (await this.#revokeAll(who, 'agent.revoke-certificates', id, reason, { agent: id }));
  }

  /** Lets an ID have SVIDs again. Its revoked certificates stay revoked. Throws `not_found`. */
  async allow(who: Actor, spiffeId: SpiffeId): Promise<void> {
    const { registry, recorder, namesOf } = this.#options;
    const names: ReadonlySet<string> = new Set(namesOf(spiffeId));
    await registry.step(async () => {
      const list = registry.revoked.filter(({ what, value }) => what !== 'id' || !names.has(value));
      if (list.length === registry.revoked.length)
        throw new InterlockError('not_found', spiffeId, this.#whyNotAllowed(spiffeId));
      return {
        step: {
          revocations: { list, crls: await this.#crls(list) },
          changes: [...names].map((value) => ({ change: 'allow', what: 'id', value })),
        },
        entry: recorder.entry(who, 'identity.allow', spiffeId),
      };
    });
  }

  #whyNotAllowed(spiffeId: SpiffeId): string {
    const isElsewhere = this.#options.registry.revocations.current.value.spiffeIds.has(spiffeId);
    return `the identity ${spiffeId} is not revoked${isElsewhere ? ' here, but above or below: allow it where it was revoked' : ''}`;
  }

  /**
   * Signs the CRLs anew, without what has expired. For the start, and every {@link CRL_RENEWAL_MS}. Finishes what a
   * crash had left half-way: certificates of revoked identities and evicted agents that are on no list yet.
   */
  async renew(evicted: readonly string[]): Promise<void> {
    const { registry, recorder, timers } = this.#options;
    for (const { what, value, reason } of registry.revoked) {
      if (what === 'id')
        await this.#revokeAll('system', 'identity.revoke-certificates', value, reason, { spiffeId: value });
    }
    for (const agent of evicted)
      await this.#revokeAll('system', 'agent.revoke-certificates', agent, 'evicted', { agent });
    await registry.step(async () => {
      if (registry.revoked.length === 0) return undefined;
      const list = registry.revoked.filter(({ until }) => until === undefined || until > timers.now());
      return {
        step: { revocations: { list, crls: await this.#crls(list) } },
        entry: recorder.entry('system', 'crl.renew', registry.domain.trustDomain, { revoked: list.length }),
      };
    });
  }

  async #revokeAll(
    who: Actor,
    act: string,
    what: string,
    reason: string,
    filter: IssuedFilter,
  ): Promise<number> {
    let count = 0;
    await this.#add(who, act, what, reason, async () => {
      const found = await this.#valid(filter);
      count = found.length;
      return count === 0 ? undefined : { added: found.map((svid) => this.#ofSerial(svid, reason)) };
    });
    return count;
  }

  async #add(
    who: Actor,
    act: string,
    what: string,
    reason: string,
    find: () => Promise<{ added: readonly Revocation[]; also?: readonly Change[] } | undefined>,
  ): Promise<void> {
    const { registry, recorder } = this.#options;
    await registry.step(async () => {
      const found = await find();
      if (found === undefined) return undefined;
      const { added, also = [] } = found;
      const key = (one: Revocation) => `${one.what} ${one.value}`;
      const list = [...new Map([...registry.revoked, ...added].map((one) => [key(one), one])).values()];
      const changes = added.map((revocation): Change => ({ change: 'revoke', revocation }));
      return {
        step: { revocations: { list, crls: await this.#crls(list) }, changes: [...also, ...changes] },
        entry: recorder.entry(who, act, what, { reason, certificates: added.filter(isSerial).length }),
      };
    });
  }

  /** Every certificate that verifiers accept now, held or not: a replaced one is as good to a thief. */
  async #valid(filter: IssuedFilter): Promise<IssuedSvid[]> {
    const { store, recorder, timers } = this.#options;
    const found: IssuedSvid[] = [];
    for (let after = ''; ; ) {
      const page = await recorder.within(
        store.issued({ ...filter, validAt: timers.now(), after, limit: PAGE }),
      );
      found.push(...page.filter(({ kind }) => kind !== 'jwt'));
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return found;
      after = last.serial;
    }
  }

  #ofSerial({ serial, authority, notAfter }: IssuedSvid, reason: string): Revocation {
    return {
      what: 'serial',
      value: serial,
      authority,
      reason,
      at: this.#options.timers.now(),
      until: notAfter,
    };
  }

  #crls(list: readonly Revocation[]): Promise<ReadonlyMap<string, Buffer>> {
    const { slots, revocations } = this.#options.registry;
    return this.#crlsOf(list, slots.current.value, revocations.current.version + 1);
  }

  async #crlsOf(
    list: readonly Revocation[],
    slots: readonly Slot[],
    number: number,
  ): Promise<ReadonlyMap<string, Buffer>> {
    const { keys } = this.#options;
    const crls = new Map<string, Buffer>();
    for (const slot of slots) {
      const revoked = list.filter((one) => isSerial(one) && one.authority === slot.id);
      if (revoked.length === 0 || slot.revokedAt !== undefined) continue;
      const { issuer } = await keys.of(slot);
      const crl = issuer.crl(
        revoked.map(({ value, at, reason }) => ({ serial: value, at, reason: crlReason(reason) })),
        number,
        CRL_LIFE_MS,
      );
      crls.set(slot.id, crl);
    }
    return crls;
  }
}

/** Why a serial number cannot be revoked. What has ended is remembered for a day. */
function whyNot(known: IssuedSvid | undefined): string {
  if (known === undefined) return 'no certificate with this serial number is known';
  if (known.revokedAt !== undefined) return 'the certificate with this serial number was revoked before';
  return 'the certificate with this serial number has ended';
}

const isSerial = ({ what }: Revocation) => what === 'serial';

/** One of the standard's reasons where the words given are one. */
function crlReason(reason: string): CrlReason {
  // Object.hasOwn has just said that it is a key of the table.
  return Object.hasOwn(CRL_REASONS, reason) ? (reason as CrlReason) : 'unspecified';
}
