import { expect, test } from 'vitest';
import { readPolicies } from '../../policy/index.ts';
import { targetHash } from './target-hash.ts';

const hashOf = (more: string) =>
  targetHash(
    readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: spiffe://example.org/cart }
  rules: [ { name: r, from: [ { workload: spiffe://example.org/web } ], to: [ { tcp: {} } ]${more} } ]
`),
  );

test('the name of a target is so long that nobody makes two of one name, one to be approved and one to apply', () => {
  expect(hashOf('')).toMatch(/^[0-9a-f]{48}$/);
});

test('renewing an exception, or making it last, is another target: who approved the one has not approved the other', () => {
  const hashes = [
    '',
    ', until: 2026-12-31T00:00:00Z',
    ', until: 2027-12-31T00:00:00Z',
    ', until: 2026-12-31T00:00:00Z, reason: the new one comes',
  ].map(hashOf);
  expect(new Set(hashes).size).toBe(hashes.length);
  expect(hashOf(', until: 2026-12-31T00:00:00Z')).toBe(hashes[1]);
});
