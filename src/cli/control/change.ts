import type { Terminal } from '../terminal.ts';
import { plural } from '../words.ts';
import type { Api } from './api.ts';

/** A proxy as the control plane names it in the progress of a change. */
export interface PointNamed {
  readonly key: string;
  readonly connected: boolean;
  readonly fault?: { readonly code: string; readonly message: string };
}

/** How far a change has come: who has it in force, after how many milliseconds, and who has not. */
export interface Progress {
  readonly id: string;
  readonly confirmed: readonly (PointNamed & { readonly ms: number })[];
  readonly waiting: readonly PointNamed[];
}

/** One call waits at most as long. */
const CALL_MS = 10_000;

/** Follows a change until every proxy has confirmed, or `ms` milliseconds have passed; `onNews` gets the new ones. */
export async function followChange(
  api: Api,
  change: string,
  ms: number,
  onNews: (point: PointNamed & { readonly ms: number }) => void = () => {},
): Promise<Progress> {
  const end = Date.now() + ms;
  for (let known = 0; ; ) {
    const waitMs = Math.max(0, Math.min(CALL_MS, end - Date.now()));
    const progress = await api.call('changes.get', { params: { id: change }, query: { known, waitMs } });
    const sorted = progress.confirmed.toSorted((a, b) => a.ms - b.ms);
    for (const point of sorted.slice(known)) onNews(point);
    known = progress.confirmed.length;
    if (progress.waiting.length === 0 || Date.now() >= end) return progress;
  }
}

/** As many are named one by one; of more only how many they are. */
const MOST_NAMED = 20;

/** Says how many proxies confirmed and in how many milliseconds, with `names` which ones, and which have not. */
export function tellProgress(
  terminal: Terminal,
  { confirmed, waiting }: Progress,
  { names = false } = {},
): void {
  const all = confirmed.length + waiting.length;
  if (all === 0) {
    terminal.line('No proxy is concerned now.');
    return;
  }
  const slowest = Math.max(0, ...confirmed.map(({ ms }) => ms));
  const took = confirmed.length === 0 ? '' : `, the last after ${slowest} ms`;
  terminal.line(`${confirmed.length} of ${plural(all, 'proxy', 'proxies')} confirmed${took}.`);
  if (names && confirmed.length > 0 && confirmed.length <= MOST_NAMED) {
    const sorted = confirmed.toSorted((a, b) => a.ms - b.ms);
    terminal.line();
    terminal.listing([['CONFIRMED', 'AFTER'], ...sorted.map(({ key, ms }) => [key, `${ms} ms`])]);
  }
  if (waiting.length === 0) return;
  terminal.line();
  terminal.listing([['NOT CONFIRMED', 'WHY'], ...waiting.map((point) => [point.key, whyNot(point)])]);
  terminal.prose('They are told again until they confirm.');
}

function whyNot({ connected, fault }: PointNamed): string {
  if (fault !== undefined) return `refused it (${fault.code}): ${fault.message}`;
  return connected ? 'has not answered yet' : 'not connected';
}
