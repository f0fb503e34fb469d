import type { ErrorCode } from '../../../access/index.ts';
import type { Call } from './operations.ts';
import type { IdentityStoreOptions } from './open.ts';

/** What the thread is started with. */
export interface Start {
  readonly dir: string;
  readonly options: IdentityStoreOptions;
}

/** Calls that are made in one transaction, in this order; undefined asks the thread to close. */
export type ToThread = { readonly calls: readonly Call[] } | { readonly close: true };

/** What one call came to: each fails or succeeds for itself, unless the commit of all failed. */
export type Outcome = { readonly value: unknown } | { readonly error: SentError };

/** An error as it crosses threads; `code` is missing for a fault of the program. */
export interface SentError {
  readonly code?: ErrorCode;
  readonly subject: string;
  readonly message: string;
}

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: SentError }
  | { readonly kind: 'outcomes'; readonly outcomes: readonly Outcome[] };
