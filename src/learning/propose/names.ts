import type { AccessPolicy } from '../../policy/index.ts';
import { shortHash } from './hash.ts';

/** A document's name starts and ends with a letter or digit, a SPIFFE ID's segment need not. May be empty. */
export function documentName(segment: string): string {
  return segment.replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}

/** Two workloads may share a namespace and a short name (`/ns/a/sa/x`, `/vm/x`): the later ones get more of their ID. */
export function withUniqueNames(policies: readonly AccessPolicy[]): AccessPolicy[] {
  // All short names are taken first, so that none is what another one's ID makes of its own.
  const seen = new Set(policies.map(sortKey));
  const given = new Set<string>();
  const named = policies.map((policy) => {
    if (!given.has(sortKey(policy))) {
      given.add(sortKey(policy));
      return policy;
    }
    const { metadata, spec } = policy;
    let other = withName(policy, `${metadata.name}-${shortHash(spec.protects.workload)}`);
    for (let salt = 1; seen.has(sortKey(other)); salt++) {
      other = withName(policy, `${metadata.name}-${shortHash(`${salt} ${spec.protects.workload}`)}`);
    }
    seen.add(sortKey(other));
    return other;
  });
  return named.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function withName(policy: AccessPolicy, name: string): AccessPolicy {
  return { ...policy, metadata: { ...policy.metadata, name } };
}

const sortKey = ({ metadata }: AccessPolicy): string => `${metadata.namespace ?? ''}\n${metadata.name}`;
