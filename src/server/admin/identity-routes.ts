import { Hono } from 'hono';
import { z } from 'zod';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { CertificateError, certificatesFromPem, verifyX509Svid } from '../../identity/index.ts';
import { ISSUED_KINDS, type IssuedFilter } from '../../store/index.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf, queryOf } from './read-body.ts';

const filter = z.strictObject({
  id: z.string().max(2048).optional(),
  agent: z.string().max(2048).optional(),
  authority: z.string().max(64).optional(),
  rule: z.string().max(253).optional(),
  kind: z.enum(ISSUED_KINDS).optional(),
  serial: z.string().max(64).optional(),
  all: z.enum(['true', 'false']).default('false'),
  after: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(5000).default(1000),
});
const target = z.union([
  z.strictObject({ spiffeId: z.string().max(2048), reason: z.string().max(200).default('unspecified') }),
  z.strictObject({
    serial: z.string().regex(/^[0-9a-f]{1,40}$/),
    reason: z.string().max(200).default('unspecified'),
  }),
]);

/** Which identities are live, and revocation. */
export function identityRoutes({ plane, timers }: AdminParts): Hono<AdminEnv> {
  const { store, recorder, registry, revoking, authorities } = plane;
  return new Hono<AdminEnv>()
    .get('/', async (context) => {
      const { id, all, authority, ...rest } = queryOf(context, filter);
      const wanted: IssuedFilter = {
        ...withoutUndefined(rest),
        ...(id === undefined ? {} : { spiffeId: id }),
        ...(authority === undefined ? {} : { authority: authorities.slot(authority).id }),
        ...(all === 'true' ? {} : { liveAt: timers.now() }),
      };
      const identities = await recorder.within(store.issued(wanted));
      const names = new Map(authorities.slots.map((slot) => [slot.id, slot.name]));
      return context.json({
        identities: identities.map((svid) => ({ ...svid, authorityName: names.get(svid.authority) })),
        next: identities.length === rest.limit ? identities.at(-1)?.serial : undefined,
      });
    })
    .get('/revoked', (context) => context.json({ revoked: registry.revoked }))
    .post('/revoke', async (context) => {
      const body = await bodyOf(context, target);
      const who = context.get('who');
      if ('serial' in body) {
        await revoking.revokeSerial(who, body.serial, body.reason);
        return context.json({ certificates: 1 });
      }
      const certificates = await revoking.revokeId(who, parseSpiffeId(body.spiffeId), body.reason);
      return context.json({ certificates });
    })
    .post('/allow', async (context) => {
      const { spiffeId } = await bodyOf(context, z.strictObject({ spiffeId: z.string().max(2048) }));
      await revoking.allow(context.get('who'), parseSpiffeId(spiffeId));
      return context.json({ allowed: spiffeId });
    })
    .post('/verify', async (context) => {
      const { pem } = await bodyOf(context, z.strictObject({ pem: z.string().max(1_000_000) }));
      const { crls, spiffeIds } = registry.revocations.current.value;
      try {
        const { spiffeId, chain, authority, expiresAt } = verifyX509Svid(certificatesFromPem(pem), {
          bundles: registry.bundles.current.value.bundles,
          now: timers.now(),
          crls: [...crls.values()],
          revokedIds: spiffeIds,
        });
        const via = [...chain.slice(1), authority].map(({ subject }) => subject);
        return context.json({ isValid: true, spiffeId, serial: chain[0]?.serial, via, expiresAt });
      } catch (error) {
        if (error instanceof CertificateError)
          return context.json({ isValid: false, fault: error.fault, reason: error.message });
        if (error instanceof InterlockError && error.code === 'invalid_certificate')
          return context.json({ isValid: false, fault: 'malformed', reason: error.message });
        throw error;
      }
    });
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** An object without the fields that are undefined. */
function withoutUndefined<T extends object>(from: T): Partial<Defined<T>> {
  // The fields that are left are those of T that have a value.
  return Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined)) as Partial<
    Defined<T>
  >;
}
