import type { z } from 'zod';
import { policySchema } from './schema.ts';
import type { AccessPolicy } from './types.ts';

/** What is wrong with a document, and where in it (keys and positions from the root). */
export interface Problem {
  readonly path: readonly (string | number)[];
  readonly reason: string;
  /** The key itself, where it is the key that must not be there. */
  readonly key?: string;
}

export type Checked =
  | { readonly ok: true; readonly policy: AccessPolicy }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Checks plain data against the schema and every rule that refuses what would mean more than it says. */
export function checkPolicy(data: unknown): Checked {
  const result = policySchema.safeParse(data);
  if (!result.success) return { ok: false, problems: result.error.issues.map((issue) => problemOf(issue)) };
  // zod's type lacks the brand of SpiffeId, which its check has just established, and writes optional
  // fields as "or undefined"; the parsed value has no field with the value undefined.
  return { ok: true, policy: result.data as unknown as AccessPolicy };
}

type Issue = z.core.$ZodIssue;

function problemOf(issue: Issue, above: readonly PropertyKey[] = []): Problem {
  const path = [...above, ...issue.path];
  if (issue.code === 'invalid_union') {
    const meant = branchMeant(issue.errors);
    if (meant !== undefined) return problemOf(meant, path);
  }
  return {
    path: path.filter((key) => typeof key !== 'symbol'),
    reason: reasonOf(issue, path),
    ...(issue.code === 'unrecognized_keys' && issue.keys[0] !== undefined ? { key: issue.keys[0] } : {}),
  };
}

/** The first issue of the branch that was meant: the one whose own key is there. */
function branchMeant(branches: readonly (readonly Issue[])[]): Issue | undefined {
  const own = branches.filter((issues) => !issues.some(isMissingKey));
  return own.length === 1 ? own[0]?.[0] : undefined;
}

/** zod tells a missing key from a wrong one only in its message. */
function isMissingKey(issue: Issue): boolean {
  return (
    issue.code === 'invalid_type' && issue.path.length === 1 && issue.message.endsWith('received undefined')
  );
}

function reasonOf(issue: Issue, path: readonly PropertyKey[]): string {
  const where =
    path.length === 0 ? 'the document' : `"${String(path.findLast((key) => typeof key === 'string'))}"`;
  switch (issue.code) {
    case 'unrecognized_keys':
      return `unknown key ${issue.keys.map((key) => `"${key.slice(0, 60)}"`).join(', ')}`;
    case 'too_small':
      return issue.origin === 'array'
        ? `${where} is empty: leave it out if anything is meant, or list what is meant`
        : `${where} is below ${issue.minimum}`;
    case 'too_big':
      return `${where} is above ${issue.maximum}${issue.origin === 'string' ? ' characters' : ''}`;
    case 'invalid_value':
      return `${where} is not ${issue.values.map((value) => `"${String(value)}"`).join(' or ')}`;
    case 'invalid_type':
      return `${where} is missing or not of type ${issue.expected}`;
    case 'invalid_union':
      return path.includes('to')
        ? 'an item of "to" is exactly one of tcp, http, grpc, and may have ports'
        : 'an item of "from" is exactly one of workload, trustDomain, user, group, unauthenticated';
    default:
      return issue.message;
  }
}
