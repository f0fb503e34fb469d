import { trustDomainOf, type SpiffeId } from '../../access/index.ts';
import { isInside, parseCertificate } from '../../identity/index.ts';
import type { BelowRevocations } from '../agents/desk.ts';
import type { Registry } from '../identity/registry.ts';
import { certificateOf, type Slot } from '../identity/slots.ts';

/**
 * What is revoked at this control plane and below it, for its parent: lists with the authorities up to the one that the
 * parent has certified, and IDs that are this control plane's to revoke. Undefined while the lists are being made.
 */
export function revocationsHere(registry: Registry, parentDomain: string): BelowRevocations | undefined {
  const { domain, ownCrls, revoked, below, slots } = registry;
  if (ownCrls === undefined) return undefined;
  const isOwnDomain = domain.trustDomain !== parentDomain;
  const chainOf = (slot: Slot) =>
    // The parent knows the root of a trust domain of our own by its bundle.
    isOwnDomain ? [...slot.intermediates.map(({ der }) => der), slot.root.der] : [certificateOf(slot).der];
  const byId = new Map(slots.current.value.map((slot) => [slot.id, slot]));
  const own = [...ownCrls].flatMap(([id, crl]) => {
    const slot = byId.get(id);
    // What a control plane abroad has certified is its to know.
    return slot === undefined || registry.abroad.joined.has(slot.name) ? [] : [{ chain: chainOf(slot), crl }];
  });
  const theirs = [...below.values()].flatMap(({ authorities }) =>
    authorities.flatMap(({ chain, crl }) => {
      const last = chain.at(-1);
      const slot = last && byId.get(parseCertificate(last).authorityKeyId ?? '');
      return slot === undefined ? [] : [{ chain: [...chain, ...chainOf(slot)], crl }];
    }),
  );
  const ids = revoked.flatMap(({ what, value }) => (what === 'id' ? [value] : []));
  const isOurs = (id: string) =>
    // Checked when it was revoked.
    trustDomainOf(id as SpiffeId) === domain.trustDomain && isInside(id as SpiffeId, domain.prefixes);
  return {
    authorities: [...own, ...theirs],
    spiffeIds: [...new Set([...ids, ...[...below.values()].flatMap(({ spiffeIds }) => spiffeIds)])].filter(
      isOurs,
    ),
  };
}

/** What is revoked of that which a control plane abroad, of this trust domain, has certified under a name. */
export function revocationsOf(
  registry: Registry,
  name: string,
  trustDomain: string,
): BelowRevocations | undefined {
  const { ownCrls, revoked, slots } = registry;
  if (ownCrls === undefined) return undefined;
  const certified = slots.current.value.filter((slot) => slot.name === name);
  return {
    authorities: certified.flatMap((slot) => {
      const crl = ownCrls.get(slot.id);
      return crl === undefined ? [] : [{ chain: [certificateOf(slot).der], crl }];
    }),
    spiffeIds: revoked.flatMap(({ what, value }) => {
      if (what !== 'id') return [];
      // Checked when it was revoked.
      const id = value as SpiffeId;
      const isTheirs = certified.some((slot) => isInside(id, certificateOf(slot).prefixes));
      return isTheirs && trustDomainOf(id) === trustDomain ? [id] : [];
    }),
  };
}
