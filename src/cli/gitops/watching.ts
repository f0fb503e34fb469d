import { setTimeout as wait } from 'node:timers/promises';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { Changes } from './changes.ts';
import type { Consent } from './drift.ts';
import { type Done, type PassInput, runPass } from './pass.ts';
import type { Pasts } from './there.ts';
import { Turn } from './turn.ts';
import { faultText, plural } from '../words.ts';

/** How long a control plane that is away is left alone: at first and at most; milliseconds. */
const AWAY_MS = 1000;
const MOST_AWAY_MS = 60_000;
/** How soon what somebody else was faster with is looked at again. */
const AGAIN_MS = 1000;

/** What is new of a watch; what stays as it is, is told once. */
export type WatchNews =
  /** A look that has changed something, or found something else than the one before. */
  | { readonly kind: 'looked'; readonly done: Done }
  /** Why nothing is applied. */
  | { readonly kind: 'fault'; readonly error: InterlockError }
  /** The fault that was told last is over, and nothing else is new. */
  | { readonly kind: 'well' }
  /** Changes of it are not told by the system: it is looked at every interval all the same. */
  | { readonly kind: 'unwatched'; readonly path: string; readonly why: string };

export interface WatchOptions extends PassInput {
  readonly consents: ReadonlySet<Consent>;
  /** How often both sides are compared without an event, milliseconds. */
  readonly everyMs: number;
  readonly signal: AbortSignal;
  readonly tell: (news: WatchNews) => void;
  readonly random?: () => number;
}

/**
 * Keeps a control plane in step with a directory until `signal` is aborted: each look is a run as by hand. A fault is told
 * once and waited out: a broken document until it is mended, a control plane that is away at growing intervals, another run
 * of the same source until that has ended. Throws only what keeps it from beginning: `usage`, and a directory that is not
 * there.
 */
export async function watchDirectory(options: WatchOptions): Promise<void> {
  const { api, dir, everyMs, signal, tell, random = Math.random } = options;
  const turn = new Turn(api, 'watch');
  const unwatched = new Set<string>();
  const changes = new Changes(dir, (path, why) => {
    if (unwatched.size < 100 && !unwatched.has(path)) tell({ kind: 'unwatched', path, why });
    unwatched.add(path);
  });
  const news = new News(tell);
  const pasts: Pasts = new Map();
  let away = 0;
  try {
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      changes.arm();
      const outcome = await look({ ...options, pasts }, turn);
      if (signal.aborted && outcome instanceof InterlockError) break;
      if (isFirst && outcome instanceof InterlockError && isHopeless(outcome)) throw outcome;
      const error = outcome instanceof InterlockError ? outcome : outcome.failure;
      if (error?.code !== 'unavailable') await turn.note(faultOf(outcome));
      news.heard(outcome);
      if (error?.code === 'unavailable') {
        away = Math.min(Math.max(AWAY_MS, away * 2), MOST_AWAY_MS);
        // Not all of them at the same moment; and what changes here meanwhile changes nothing there.
        await sleep(away * (0.5 + random() / 2), signal);
        continue;
      }
      away = 0;
      const isSoon = !(outcome instanceof InterlockError) && outcome.conflicts.length > 0;
      await changes.next(isSoon ? Math.min(AGAIN_MS, everyMs) : everyMs, signal);
    }
  } finally {
    changes.close();
    await turn.giveBack();
  }
}

async function look(options: WatchOptions, turn: Turn): Promise<Done | InterlockError> {
  try {
    return await runPass({ ...options, turn });
  } catch (error) {
    if (isInterlockError(error)) return error;
    // A wait that was broken off.
    if (options.signal.aborted) return new InterlockError('unavailable', options.dir, 'stopped');
    throw error;
  }
}

/**
 * What no waiting mends at the start: a name that was mistyped, a sign-in that is missing. Later on a directory may be away
 * for a moment, while it is replaced.
 */
const isHopeless = ({ code }: InterlockError) => HOPELESS.has(code);
const HOPELESS: ReadonlySet<string> = new Set(['usage', 'not_found', 'untrusted', 'forbidden']);

/** What others are told of a look that has not applied all. */
function faultOf(outcome: Done | InterlockError): string | undefined {
  if (outcome instanceof InterlockError) return faultText(outcome);
  const { failure, plan } = outcome;
  if (failure !== undefined) return faultText(failure);
  if (plan.refused.length === 0) return undefined;
  const names = plan.refused.slice(0, 5).map(({ name }) => name);
  return `${plural(plan.refused.length, 'document')} not applied, because work that was done there would be lost: ${names.join(', ')}`;
}

/** Tells what is new, once. */
class News {
  readonly #tell: (news: WatchNews) => void;
  #fault: string | undefined;
  #found: string | undefined;

  constructor(tell: (news: WatchNews) => void) {
    this.#tell = tell;
  }

  heard(outcome: Done | InterlockError): void {
    if (outcome instanceof InterlockError) {
      this.#heardFault(outcome);
      return;
    }
    const { applied, failure } = outcome;
    const found = foundText(outcome);
    const isNew = applied.length > 0 || found !== this.#found;
    this.#found = found;
    if (isNew) this.#tell({ kind: 'looked', done: outcome });
    if (failure !== undefined) {
      this.#heardFault(failure);
      return;
    }
    if (this.#fault !== undefined && !isNew) this.#tell({ kind: 'well' });
    this.#fault = undefined;
  }

  #heardFault(error: InterlockError): void {
    const text = faultText(error);
    if (text !== this.#fault) this.#tell({ kind: 'fault', error });
    this.#fault = text;
  }
}

/** What a look has found, as one text: what is the same need not be told again. */
function foundText({ sides, plan, conflicts }: Done): string {
  const { source, drift, here } = sides;
  const names = (list: readonly { readonly name: string; readonly state: string }[]) =>
    list.map(({ name, state }) => `${name} ${state}`);
  return JSON.stringify([
    source.name,
    source.commit,
    source.branch,
    names(plan.refused),
    names(plan.left),
    conflicts,
    drift.elsewhere,
    here.leftOut,
    [...here.others],
    here.configuration,
  ]);
}

/** Ends early, and without an error, once `signal` is aborted: that is all that it rejects for. */
async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => {});
}
