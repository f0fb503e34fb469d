import { distanceText } from '../../control/words.ts';
import type { Terminal } from '../../terminal.ts';

/** A release that somebody made at a proxy itself. Times are milliseconds since 1970 UTC. */
interface ReleasedHere {
  readonly proxy: string;
  readonly workload?: string | undefined;
  readonly reason: string;
  readonly by: string;
  readonly at: number;
  readonly until?: number | undefined;
}

/** Says which proxies were released by hand on their machine: since when, by whom, and why. */
export function tellReleasedHere(terminal: Terminal, all: readonly ReleasedHere[], now: number): void {
  terminal.heading('Released by hand at the proxy');
  terminal.listing([
    ['PROXY', 'WORKLOAD', 'SINCE', 'ENDS', 'BY', 'REASON'],
    ...all.map(({ proxy, workload, at, until, by, reason }) => [
      proxy,
      workload ?? 'all of it',
      distanceText(at, now),
      until === undefined ? 'armed there' : distanceText(until, now),
      by,
      reason,
    ]),
  ]);
  terminal.prose('They end there: interlock arm --local --state DIRECTORY-OF-THE-PROXY');
}
