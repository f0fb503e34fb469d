import type { TallyData } from '../../../access/index.ts';
import type { LiveBatch, LiveState, ReportMark, SeenAccesses } from '../../live.ts';
import type { SentError } from '../identity/messages.ts';
import type { SqliteOptions } from '../open.ts';

/** What the thread is started with. */
export interface LiveStart {
  readonly dir: string;
  readonly trustDomain: string;
  readonly options: SqliteOptions;
  /** Whether what was kept is asked for: a thread that takes another one's place is not asked. */
  readonly load: boolean;
}

/** One batch, or the end. */
export type ToLiveThread =
  | {
      readonly batch: LiveBatch;
      readonly tallies: readonly { readonly source: string; readonly data: TallyData }[];
    }
  | { readonly close: true };

export type FromLiveThread =
  | { readonly kind: 'ready'; readonly kept: LiveState; readonly seen: readonly SeenAccesses[] }
  | { readonly kind: 'failed'; readonly error: SentError }
  | { readonly kind: 'done'; readonly known: readonly ReportMark[] }
  | { readonly kind: 'error'; readonly error: SentError };
