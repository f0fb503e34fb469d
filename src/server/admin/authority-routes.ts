import { Hono } from 'hono';
import { z } from 'zod';
import { certificatesFromPem, certificateToPem, isConfirmed, KEY_ALGORITHMS } from '../../identity/index.ts';
import type { LiveCount } from '../../store/index.ts';
import { DEFAULT_AUTHORITY } from '../identity/authorities.ts';
import { chainOf } from '../identity/certified-chain.ts';
import { makeRequest } from '../identity/requests.ts';
import { certificateOf, domainOf, type Slot } from '../identity/slots.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf } from './read-body.ts';

const forced = z.strictObject({ force: z.boolean().default(false) });
const named = z.strictObject({ name: z.string().min(1).max(253).default(DEFAULT_AUTHORITY) });
const abroad = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/),
  address: z.string().max(300),
  joinToken: z.string().max(1000).optional(),
});
const DAY = 86_400_000;

/** Authorities: what there is, and every step of their lives. */
export function authorityRoutes(parts: AdminParts): Hono<AdminEnv> {
  const { plane, timers, lifecycle, joined } = parts;
  const { authorities, registry } = plane;
  const shown = async (slot: Slot) => {
    const counts = await plane.recorder.within(plane.store.liveCounts(timers.now()));
    return authorityJson(slot, counts, isConfirmed(slot, timers.now(), plane.confirmations()));
  };
  return new Hono<AdminEnv>()
    .get('/', async (context) => {
      const { domain } = registry;
      return context.json({
        trustDomain: domain.trustDomain,
        root: domain.root,
        parent: domain.parent,
        prefixes: domain.prefixes,
        agents: plane.confirmations().behind.length,
        joined: joined.list(),
        authorities: await Promise.all(authorities.slots.map(shown)),
      });
    })
    .post('/prepare', async (context) => {
      const { name } = await bodyOf(context, named);
      return context.json(await shown(await authorities.prepare(context.get('who'), name)));
    })
    .post('/rotate', async (context) => {
      const { name } = await bodyOf(context, named);
      const slot = await authorities.rotate(context.get('who'), name);
      await lifecycle.look();
      return context.json(await shown(authorities.slot(slot.id)));
    })
    .post('/join', async (context) => {
      const body = await bodyOf(context, abroad);
      const slot = await joined.join(context.get('who'), body);
      return context.json(await shown(authorities.slot(slot.id)));
    })
    .post('/leave', async (context) => {
      const { name } = await bodyOf(context, z.strictObject({ name: z.string().min(1).max(253) }));
      await joined.leave(context.get('who'), name);
      return context.json({ left: name });
    })
    .post('/csr', async (context) => {
      await bodyOf(context, z.strictObject({}));
      return context.json(await makeRequest(context.get('who'), plane));
    })
    .post('/import', async (context) => {
      const body = await bodyOf(context, named.extend({ pem: z.string().max(1_000_000) }));
      const { keyId, intermediates, root } = chainOf(certificatesFromPem(body.pem));
      const slot = await authorities.adopt(context.get('who'), keyId, { intermediates, root }, body.name);
      return context.json(await shown(slot));
    })
    .post('/:id/activate', async (context) => {
      const { force } = await bodyOf(context, forced);
      return context.json(
        await shown(await authorities.activate(context.get('who'), context.req.param('id'), force)),
      );
    })
    .post('/:id/taint', async (context) => {
      const { overMs } = await bodyOf(context, z.strictObject({ overMs: z.int().min(0).max(DAY) }));
      return context.json(
        await shown(await authorities.taint(context.get('who'), context.req.param('id'), overMs)),
      );
    })
    .post('/:id/revoke', async (context) => {
      const { force } = await bodyOf(context, forced);
      return context.json(
        await shown(await authorities.revoke(context.get('who'), context.req.param('id'), force)),
      );
    });
}

/** An authority as the API shows it. */
export function authorityJson(slot: Slot, counts: readonly LiveCount[], confirmed: boolean) {
  const { id, name, state, algorithm, publishedIn, taintedAt, revokedAt, activatedAt, preparedAt, wanted } =
    slot;
  const certificate = certificateOf(slot);
  const live = counts.filter(({ authority }) => authority === id);
  return {
    id,
    name,
    trustDomain: domainOf(slot),
    state,
    algorithm,
    key: KEY_ALGORITHMS[algorithm].label,
    notBefore: slot.notBefore,
    notAfter: slot.notAfter,
    preparedAt,
    activatedAt,
    taintedAt,
    revokedAt,
    publishedIn,
    isConfirmed: confirmed,
    isWanted: wanted === true,
    isRoot: slot.intermediates.length === 0,
    prefixes: certificate.prefixes,
    /** What is live under it and still has to be replaced before it can go. */
    live: Object.fromEntries(live.map(({ kind, count }) => [kind, count])),
    pem: [certificate, ...slot.intermediates.slice(1)].map(({ der }) => certificateToPem(der)).join(''),
    rootPem: certificateToPem(slot.root.der),
  };
}
