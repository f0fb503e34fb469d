import { InterlockError, isEntity, parseSpiffeId, parseTrustDomain } from '../access/index.ts';
import { type Cidr, cidrContains, parseCidr } from './address.ts';
import type { From } from './types.ts';

/**
 * Whom a `from` is about, read and checked. A `prefix` ends in "/" and stands for everything below it. `person`
 * (a user or a group) matches no request yet: requests carry no user before principals do.
 */
export type Caller =
  | { readonly kind: 'exact'; readonly id: string }
  | { readonly kind: 'prefix'; readonly prefix: string }
  | { readonly kind: 'domain'; readonly name: string }
  | { readonly kind: 'entity'; readonly name: string }
  | { readonly kind: 'cidr'; readonly cidr: Cidr }
  | { readonly kind: 'person'; readonly text: string };

export type ParsedCaller =
  | { readonly ok: true; readonly caller: Caller }
  | { readonly ok: false; readonly reason: string };

/** Reads a `from`, or gives the reason why it would mean something other than what is written. */
export function parseCaller(from: From): ParsedCaller {
  if ('workload' in from) return parseWorkload(from.workload);
  if ('trustDomain' in from) {
    return checked(() => ({ kind: 'domain', name: parseTrustDomain(from.trustDomain) }));
  }
  if ('unauthenticated' in from) return parseOrigin(from.unauthenticated.from);
  return yes({ kind: 'person', text: JSON.stringify(from) });
}

function parseWorkload(text: string): ParsedCaller {
  if (!text.endsWith('/*')) return checked(() => ({ kind: 'exact', id: parseSpiffeId(text) }));
  const above = text.slice(0, -2);
  return checked(() => {
    const id = parseSpiffeId(above);
    if (id.indexOf('/', 9) < 0) {
      throw new InterlockError(
        'wider',
        text,
        `"${text}" is the whole trust domain: write trustDomain: ${id.slice(9)}`,
      );
    }
    return { kind: 'prefix', prefix: `${id}/` };
  });
}

function parseOrigin(text: string): ParsedCaller {
  if (isEntity(text)) return yes({ kind: 'entity', name: text });
  if (!/[/.:]/.test(text))
    return { ok: false, reason: `"${text}" is neither a CIDR nor the name of an entity` };
  const parsed = parseCidr(text);
  return parsed.ok
    ? yes({ kind: 'cidr', cidr: parsed.cidr })
    : { ok: false, reason: `"${text}": ${parsed.reason}` };
}

function yes(caller: Caller): ParsedCaller {
  return { ok: true, caller };
}

function checked(read: () => Caller): ParsedCaller {
  try {
    return yes(read());
  } catch (error) {
    if (error instanceof InterlockError) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Whether every principal that `inner` stands for is one that `outer` stands for. */
export function callerContains(outer: Caller, inner: Caller): boolean {
  switch (outer.kind) {
    case 'exact':
      return inner.kind === 'exact' && inner.id === outer.id;
    case 'prefix':
      return (
        (inner.kind === 'exact' && inner.id.startsWith(outer.prefix)) ||
        (inner.kind === 'prefix' && inner.prefix.startsWith(outer.prefix))
      );
    case 'domain':
      return domainOf(inner) === outer.name;
    case 'entity':
      return inner.kind === 'entity' && inner.name === outer.name;
    case 'cidr':
      return inner.kind === 'cidr' && cidrContains(outer.cidr, inner.cidr);
    case 'person':
      return inner.kind === 'person' && inner.text === outer.text;
  }
}

function domainOf(caller: Caller): string | undefined {
  if (caller.kind === 'domain') return caller.name;
  const text = caller.kind === 'exact' ? caller.id : caller.kind === 'prefix' ? caller.prefix : undefined;
  return text?.slice(9).split('/', 1)[0];
}
