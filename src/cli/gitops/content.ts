import { createHash } from 'node:crypto';
import type { IdentityRule } from '../../identity/index.ts';
import type { AccessPolicy, Rule } from '../../policy/index.ts';

/** Says in a document where it is kept: `sync:` and the name of the source, and the file in it. */
export const SOURCE_ANNOTATION = 'interlock.dev/source';
const PREFIX = 'sync:';

type Annotated = { readonly metadata: { readonly annotations?: Readonly<Record<string, string>> } };

/** A document with the note that it is kept in a file of a source. */
export function marked<T extends Annotated>(document: T, source: string, file: string): T {
  const annotations = { ...document.metadata.annotations, [SOURCE_ANNOTATION]: `${PREFIX}${source}${file}` };
  return { ...document, metadata: { ...document.metadata, annotations } };
}

/** A document without that note. */
export function unmarked<T extends Annotated>(document: T): T {
  const { annotations, ...metadata } = document.metadata;
  if (annotations?.[SOURCE_ANNOTATION] === undefined) return document;
  const { [SOURCE_ANNOTATION]: _, ...rest } = annotations;
  return {
    ...document,
    metadata: Object.keys(rest).length === 0 ? metadata : { ...metadata, annotations: rest },
  };
}

/** The source that a document says it is kept in, with the file; undefined where it says none. */
export function markOf({ metadata }: Annotated): string | undefined {
  const mark = metadata.annotations?.[SOURCE_ANNOTATION];
  return mark?.startsWith(PREFIX) === true ? mark.slice(PREFIX.length) : undefined;
}

/** A policy as far as two of them are compared: where it is kept and what its rules rest on is no part of it. */
export function plainPolicy(policy: AccessPolicy): AccessPolicy {
  const { rules, deny, ...spec } = policy.spec;
  return unmarked({
    ...policy,
    spec: { ...spec, rules: rules.map(withoutEvidence), deny: deny.map(withoutEvidence) },
  });
}

/** A rule without what it rests on. */
export function withoutEvidence(rule: Rule): Rule {
  const { evidence: _, ...rest } = rule;
  return rest;
}

/** One text for one content, whatever the order of its keys. */
export function contentText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(contentText).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${contentText(field)}`)
    .join(',')}}`;
}

/** What a policy's content is known by in the audit log: SHA-256 in hex, cut to 96 bits as the hash of a target set is. */
export function policyDigest(policy: AccessPolicy): string {
  return createHash('sha256')
    .update(contentText(plainPolicy(policy)))
    .digest('hex')
    .slice(0, 24);
}

/** Whether two rules for identities say the same. */
export function isSameRule(a: IdentityRule, b: IdentityRule): boolean {
  return contentText(unmarked(a)) === contentText(unmarked(b));
}
