import { parseSpiffeId } from '../../access/index.ts';
import type { Caller, ServedAccess } from '../types.ts';

export const NOW = Date.UTC(2026, 10, 21);
export const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
export const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');

/** A connection of the web over mutual TLS. */
export function callerOf(over: Partial<Caller> = {}): Caller {
  const principal = { kind: 'workload', id: web } as const;
  return { principal, address: '10.0.0.7', port: 40_000, isMutual: true, group: 'X25519MLKEM768', ...over };
}

/** A request that was allowed by everyone. */
export function servedOf(path: string, over: Partial<ServedAccess> = {}): ServedAccess {
  return {
    workload: cart,
    caller: callerOf(),
    action: { kind: 'http', port: 80, method: 'GET', path },
    judgement: { allowed: true, before: { allowed: true, decidedBy: 'no-policy' } },
    outcome: 'ok',
    at: NOW,
    ...over,
  };
}
