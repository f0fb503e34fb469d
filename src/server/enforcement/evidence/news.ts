import {
  absorbTally,
  type Action,
  exportTally,
  type Principal,
  type SpiffeId,
  Tally,
  type TallyData,
} from '../../../access/index.ts';
import type { Json, LiveBatch, ReportMark } from '../../../store/index.ts';
import type { Reported, Reporter, SeenFlip } from './intake.ts';
import { sumOf } from './tallies.ts';

/** What is shown of a report: what rollouts ask for. */
export interface Shown {
  readonly reporter: Reporter;
  readonly mark?: ReportMark;
  readonly calls: readonly {
    readonly from: Principal;
    readonly to: SpiffeId;
    readonly action: Action;
    readonly isGood: boolean;
    readonly requests: number;
    readonly firstSeen: number;
  }[];
  readonly lost: number;
  readonly flips: readonly SeenFlip[];
}

/** What one control plane has kept, as the others take it over. */
export interface BatchNews extends Required<Pick<LiveBatch, (typeof SIGHTINGS)[number]>> {
  readonly shown: readonly Shown[];
  readonly tallies: readonly Tally[];
}

const SIGHTINGS = ['flips', 'plaintext', 'unreached', 'handshakes'] as const;
/** A tally as JSON has it. */
interface SentTally extends Omit<TallyData, 'numbers' | 'firstSeen' | 'lastSeen'> {
  readonly firstSeen?: number;
  readonly lastSeen?: number;
  readonly numbers: readonly number[];
}

/** Of this form of news: who reads another one reads what is kept instead. */
const VERSION = 1;

export function shownOf(
  reporter: Reporter,
  { accesses, lost }: Pick<Reported, 'accesses' | 'lost'>,
  flips: readonly SeenFlip[],
  mark: ReportMark | undefined,
): Shown {
  return {
    reporter,
    ...(mark === undefined ? {} : { mark }),
    calls: accesses.map(({ from, to, action, outcomes, firstSeen }) => ({
      from,
      to,
      action,
      isGood: outcomes.ok > 0,
      requests: sumOf(outcomes),
      firstSeen,
    })),
    lost,
    flips,
  };
}

export function newsOf({ shown, tallies, ...sightings }: BatchNews): Json {
  const sources = tallies.map((tally) => {
    const { numbers, firstSeen, lastSeen, ...data } = exportTally(tally);
    // JSON has no infinite numbers: both are where nothing was seen.
    const times = Number.isFinite(firstSeen) ? { firstSeen, lastSeen } : {};
    return { source: tally.source, data: { ...data, ...times, numbers: [...numbers] } };
  });
  const reporters = shown.map(({ reporter, ...rest }) => {
    const { key, kind, identity, instance, workloads } = reporter;
    return { ...rest, reporter: { key, kind, identity, instance, workloads } };
  });
  // Plain data, all of it.
  return { v: VERSION, ...sightings, shown: reporters, sources } as unknown as Json;
}

/** What {@link newsOf} was given, by whichever control plane of the same database; undefined where a newer one has written it. */
export function readNews(data: Json): BatchNews | undefined {
  const { v, sources, ...news } = data as unknown as { readonly v: number } & Omit<BatchNews, 'tallies'> & {
      readonly sources: readonly { readonly source: string; readonly data: SentTally }[];
    };
  if (v !== VERSION) return undefined;
  const tallies = sources.map(({ source, data: sent }) => {
    const tally = new Tally(source);
    const { firstSeen = Number.POSITIVE_INFINITY, lastSeen = Number.NEGATIVE_INFINITY } = sent;
    absorbTally(tally, { ...sent, firstSeen, lastSeen, numbers: Float64Array.from(sent.numbers) });
    return tally;
  });
  return { ...news, tallies };
}
