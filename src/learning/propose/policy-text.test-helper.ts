import { expect } from 'vitest';
import { type AccessPolicy, readPolicies, writePolicies } from '../../policy/index.ts';

/** Fails where the policies, written as documents, are refused or read back as anything else. */
export function checkPolicyText(policies: readonly AccessPolicy[]): void {
  expect(readPolicies(writePolicies(policies), 'proposal.yaml')).toEqual(policies);
}
