import type { Clock } from '../workload/index.ts';
import type { LogLine } from './inbound/connection.ts';

const WINDOW_MS = 1000;
/** Lines of one event in a second, and how many of these may be about one address. */
const MAX_LINES = 50;
const MAX_OF_ONE = 5;

interface Count {
  lines: number;
  leftOut: number;
  /** By address; never more than {@link MAX_LINES} of them. */
  readonly ofOne: Map<string, number>;
}

/**
 * A log that callers cannot flood: whoever is refused again and again would otherwise fill the disk, and hide what others
 * do. What is left out is counted, and said once a second. Numbers are complete in the metrics, and accesses in evidence.
 */
export function limitedLog(log: (line: LogLine) => void, clock: Clock): (line: LogLine) => void {
  const counts = new Map<LogLine['event'], Count>();
  const close = () => {
    const over = [...counts];
    counts.clear();
    for (const [event, { leftOut }] of over)
      if (leftOut > 0) log({ event, reason: `${leftOut} more lines of this kind were left out` });
  };
  return (line) => {
    if (counts.size === 0) clock.after(WINDOW_MS, close);
    let count = counts.get(line.event);
    if (count === undefined) counts.set(line.event, (count = { lines: 0, leftOut: 0, ofOne: new Map() }));
    const from = hostOf(line.from ?? '');
    const ofOne = count.ofOne.get(from) ?? 0;
    if (count.lines >= MAX_LINES || ofOne >= MAX_OF_ONE) {
      count.leftOut++;
      return;
    }
    count.lines++;
    count.ofOne.set(from, ofOne + 1);
    log(line);
  };
}

/** Without the port, which is another one for each connection. */
function hostOf(from: string): string {
  return /^(\[.*\]|[^:]*):\d+$/.exec(from)?.[1] ?? from;
}
