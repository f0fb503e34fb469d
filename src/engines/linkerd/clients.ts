import { callerContains } from '../../policy/index.ts';
import { callersMeet, type Grant } from '../grants.ts';
import type { Losses } from '../losses.ts';
import type { Callers, Client } from './callers.ts';

/**
 * The clients of the allow rules without those of the deny rules. All of them hold for the same requests, or for
 * the whole port.
 */
export function clientsOf(
  allow: readonly Grant[],
  deny: readonly Grant[],
  callers: Callers,
  losses: Losses,
): readonly Client[] {
  const clients = new Map<string, Client>();
  for (const grant of allow) {
    const met = deny.filter(({ caller }) => callersMeet(caller, grant.caller));
    if (met.some(({ caller }) => callerContains(caller, grant.caller))) continue;
    const client = callers.clientOf(grant);
    if (client === undefined) continue;
    const without =
      client.kind === 'network' ? { ...client, except: met.map(({ callerText }) => callerText) } : client;
    if (client.kind !== 'network') {
      for (const one of met) {
        const what = `Linkerd cannot deny, and ${one.callerText} cannot be taken out of a wider caller that rule ${grant.rule} allows: it is let through.`;
        losses.add('wider', 'deny-not-subtracted', one, what);
      }
    }
    clients.set(JSON.stringify(without), without);
  }
  return [...clients].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, client]) => client);
}
