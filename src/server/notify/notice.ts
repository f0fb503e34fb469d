import type { SpiffeId } from '../../access/index.ts';
import type { NoticeType } from '../../api/index.ts';

/** What a notice concerns: channels with a filter look at it. */
export type NoticeScope =
  | { readonly kind: 'workload'; readonly workload: SpiffeId }
  | { readonly kind: 'namespace'; readonly namespace: string }
  /** The whole estate, or nothing in particular. */
  | { readonly kind: 'all' };

/** One thing that people are told. */
export interface Notice {
  readonly type: NoticeType;
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
  /** The name of what it is about. */
  readonly subject: string;
  /** One sentence. Names in it may come from traffic: who shows it escapes it. */
  readonly summary: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
  readonly scope: NoticeScope;
}

/** Longest text of each kind, in characters. */
const MOST_TEXT = 400;

/**
 * A text as one line of bounded length: without control characters, and without those that turn the direction of what
 * follows (a name could be shown as another one).
 */
export function plain(text: string, most = MOST_TEXT): string {
  // The text that is looked at is bounded first.
  const line = text.slice(0, most * 4).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ');
  const letters = [...line];
  return letters.length <= most ? line : `${letters.slice(0, most - 1).join('')}…`;
}

/** The page of the console where a notice leads. */
export function pageOf({ type, scope }: Pick<Notice, 'type' | 'scope'>): string {
  if (type === 'release' || type === 'arm') return '/release';
  if (type === 'authority' || type === 'authority-expiring' || type === 'revocation') return '/identities';
  if (scope.kind !== 'workload') return type === 'test' ? '/settings' : '/';
  const isReview = type === 'proposal' || type === 'tightening' || type === 'question' || type === 'comment';
  return `/${isReview ? 'review' : 'workloads'}/${encodeURIComponent(scope.workload.slice('spiffe://'.length))}`;
}
