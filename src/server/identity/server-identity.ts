import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { certificateToPem, createRequest, generateKey } from '../../identity/index.ts';
import type { ServerIdentity } from '../agents/listener.ts';
import type { ControlPlane } from './control-plane.ts';
import { type Domain, ownPath } from './domain.ts';

/** Life of the control plane's own SVID, milliseconds. */
export const SERVER_TTL_MS = 3_600_000;

/** The control plane's own SPIFFE ID. */
export function serverId(domain: Domain): SpiffeId {
  return parseSpiffeId(`spiffe://${domain.trustDomain}${ownPath(domain)}/server`);
}

/**
 * A new SVID of the control plane itself, with a key that never leaves memory, and when half of its life is over.
 * `replaces` is the serial number of the one before.
 */
export async function newServerIdentity(
  { registry, issuing, authorities, recorder, store, isShared }: ControlPlane,
  now: number,
  replaces?: string,
): Promise<{ identity: ServerIdentity; renewAt: number; authority: string; serial: string }> {
  const key = generateKey('ec-p256');
  const id = serverId(registry.domain);
  // Also one of a process that was killed: its key is gone with it. Those of others that have the same state are theirs.
  const before = isShared ? [] : await recorder.within(store.issued({ kind: 'server', liveAt: now }));
  const known = replaces === undefined ? [] : [replaces];
  const serials = isShared ? known : before.map(({ serial }) => serial);
  const signed = await issuing.leaf({
    kind: 'server',
    spiffeId: id,
    csr: createRequest(key),
    ttl: SERVER_TTL_MS,
    agent: '',
    rule: '',
    also: () => [{ change: 'drop', agent: '', serials, at: now }],
    entry: ({ serial }) => recorder.entry('system', 'server.renew', id, { serial }),
  });
  const { root } = authorities.slot(signed.authority);
  return {
    identity: {
      key: key.export({ type: 'pkcs8', format: 'pem' }),
      // With the root: an agent that comes with a join token knows no more than its hash.
      chain: [...signed.chain, root.der].map(certificateToPem).join(''),
    },
    renewAt: now + Math.floor((signed.notAfter - now) / 2),
    authority: signed.authority,
    serial: signed.serial,
  };
}
