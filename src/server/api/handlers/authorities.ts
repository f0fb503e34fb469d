import {
  certificatesFromPem,
  certificateToPem,
  isConfirmed,
  KEY_ALGORITHMS,
} from '../../../identity/index.ts';
import type { LiveCount } from '../../../store/index.ts';
import { chainOf } from '../../identity/certified-chain.ts';
import { makeRequest } from '../../identity/requests.ts';
import { certificateOf, domainOf, type Slot } from '../../identity/slots.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Authorities: what there is, and every step of their lives. */
export function authorityHandlers(
  parts: ApiParts,
): Handlers<
  | 'authorities.list'
  | 'authorities.prepare'
  | 'authorities.rotate'
  | 'authorities.join'
  | 'authorities.leave'
  | 'authorities.request'
  | 'authorities.import'
  | 'authorities.activate'
  | 'authorities.taint'
  | 'authorities.revoke'
> {
  const { plane, timers, lifecycle, joined } = parts;
  const { authorities, registry } = plane;
  const shown = async (slot: Slot) => {
    const counts = await plane.recorder.within(plane.store.liveCounts(timers.now()));
    return authorityJson(slot, counts, isConfirmed(slot, timers.now(), plane.confirmations()));
  };
  return {
    'authorities.list': async () => {
      const { domain } = registry;
      return {
        trustDomain: domain.trustDomain,
        root: domain.root,
        parent: domain.parent,
        prefixes: domain.prefixes,
        agents: plane.confirmations().behind.length,
        joined: joined.list(),
        authorities: await Promise.all(authorities.slots.map(shown)),
      };
    },
    'authorities.prepare': async ({ who, body }) => shown(await authorities.prepare(who, body.name)),
    'authorities.rotate': async ({ who, body }) => {
      const slot = await authorities.rotate(who, body.name);
      await lifecycle.look();
      return shown(authorities.slot(slot.id));
    },
    'authorities.join': async ({ who, body }) => {
      const slot = await joined.join(who, body);
      return shown(authorities.slot(slot.id));
    },
    'authorities.leave': async ({ who, body }) => {
      await joined.leave(who, body.name);
      return { left: body.name };
    },
    'authorities.request': ({ who }) => makeRequest(who, plane),
    'authorities.import': async ({ who, body }) => {
      const { keyId, intermediates, root } = chainOf(certificatesFromPem(body.pem));
      return shown(await authorities.adopt(who, keyId, { intermediates, root }, body.name));
    },
    'authorities.activate': async ({ who, params, body }) =>
      shown(await authorities.activate(who, params.id, body.force)),
    'authorities.taint': async ({ who, params, body }) =>
      shown(await authorities.taint(who, params.id, body.overMs)),
    'authorities.revoke': async ({ who, params, body }) =>
      shown(await authorities.revoke(who, params.id, body.force)),
  };
}

/** An authority as the API shows it. */
function authorityJson(slot: Slot, counts: readonly LiveCount[], confirmed: boolean) {
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
