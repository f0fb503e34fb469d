import type { From, To } from '../../../src/policy/types.ts';

/** Whom a rule is about, as people read it. */
export function fromText(from: From): string {
  if ('workload' in from) return from.workload;
  if ('trustDomain' in from) return `everybody of ${from.trustDomain}`;
  if ('user' in from) return `user ${from.user.subject} of ${from.user.issuer}`;
  if ('group' in from) return `group ${from.group}`;
  return `without an identity, from ${from.unauthenticated.from}`;
}

/** What a rule is about, as people read it. */
export function toText(to: To): string {
  const ports = to.ports === undefined ? '' : ` ${to.ports.map((port) => `:${port}`).join(' ')}`;
  if ('tcp' in to) return `tcp${ports}`;
  if ('http' in to)
    return `${to.http.methods?.join(', ') ?? 'any method'} ${to.http.paths?.join('  ') ?? 'any path'}${ports}`;
  return `${to.grpc.service}/${to.grpc.methods?.join(', ') ?? 'any method'}${ports}`;
}
