import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import { CertificateError, certificatesFromPem, verifyX509Svid } from '../../../identity/index.ts';
import type { IssuedFilter, IssuedSvid } from '../../../store/index.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Which identities are live, and revocation. */
export function identityHandlers({
  plane,
  timers,
}: ApiParts): Handlers<
  'identities.list' | 'identities.verify' | 'revocations.list' | 'revocations.make' | 'revocations.end'
> {
  const { store, recorder, registry, revoking, authorities } = plane;
  return {
    'identities.list': async ({ query: { id, all, authority, order, after, ...rest } }) => {
      const wanted: IssuedFilter = {
        ...withoutUndefined(rest),
        ...(order === 'ends' ? byEnd(after) : withoutUndefined({ after })),
        ...(id === undefined ? {} : { spiffeId: id }),
        ...(authority === undefined ? {} : { authority: authorities.slot(authority).id }),
        ...(all === 'true' ? {} : { liveAt: timers.now() }),
      };
      const identities = await recorder.within(store.issued(wanted));
      const names = new Map(authorities.slots.map((slot) => [slot.id, slot.name]));
      return {
        identities: identities.map((svid) => ({ ...svid, authorityName: names.get(svid.authority) })),
        next: identities.length === rest.limit ? nextOf(identities.at(-1), order) : undefined,
      };
    },
    'revocations.list': () => ({ revoked: registry.revoked }),
    'revocations.make': async ({ who, body }) => {
      if ('serial' in body) {
        await revoking.revokeSerial(who, body.serial, body.reason);
        return { certificates: 1 };
      }
      return { certificates: await revoking.revokeId(who, parseSpiffeId(body.spiffeId), body.reason) };
    },
    'revocations.end': async ({ who, params: { spiffeId } }) => {
      await revoking.allow(who, spiffeId);
      return { allowed: spiffeId };
    },
    'identities.verify': ({ body: { pem } }) => {
      const { crls, spiffeIds } = registry.revocations.current.value;
      try {
        const { spiffeId, chain, authority, expiresAt } = verifyX509Svid(certificatesFromPem(pem), {
          bundles: registry.bundles.current.value.bundles,
          now: timers.now(),
          crls: [...crls.values()],
          revokedIds: spiffeIds,
        });
        const via = [...chain.slice(1), authority].map(({ subject }) => subject);
        return { isValid: true as const, spiffeId, serial: chain[0]?.serial, via, expiresAt };
      } catch (error) {
        if (error instanceof CertificateError)
          return { isValid: false as const, fault: error.fault, reason: error.message };
        if (error instanceof InterlockError && error.code === 'invalid_certificate')
          return { isValid: false as const, fault: 'malformed', reason: error.message };
        throw error;
      }
    },
  };
}

/** Where the next page begins: of what is in the order of its end, that stands before the serial. */
function nextOf(last: IssuedSvid | undefined, order: 'serial' | 'ends'): string | undefined {
  return last === undefined || order === 'serial' ? last?.serial : `${last.notAfter}.${last.serial}`;
}

/** The same, read back. */
function byEnd(after: string | undefined): Pick<IssuedFilter, 'order' | 'after' | 'afterEnd'> {
  if (after === undefined) return { order: 'ends' };
  const [, end, serial] = /^(\d{1,15})\.(.+)$/.exec(after) ?? [];
  if (end === undefined || serial === undefined)
    throw new InterlockError('usage', after, 'is not where a page in the order of ends begins');
  return { order: 'ends', after: serial, afterEnd: Number(end) };
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** An object without the fields that are undefined. */
function withoutUndefined<T extends object>(from: T): Partial<Defined<T>> {
  // The fields that are left are those of T that have a value.
  return Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined)) as Partial<
    Defined<T>
  >;
}
