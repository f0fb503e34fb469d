/** What a proxy has done since it started, for its health page and its tests. */
export interface Counters {
  /** Connections taken, and how many of them are open. */
  accepted: number;
  open: number;
  /** Connections refused: no mutual TLS where it is due, an identity that proves nothing, a PROXY header of a stranger. */
  refused: number;
  /** Of these, local connections that may not go out as a workload. */
  strangers: number;
  /** Connections to peers that did not come about: nobody answered, or somebody else. */
  unreached: number;
  /** Connections closed at once because there were too many. */
  busy: number;
  /** Requests that are not HTTP as the standard has it, and answers that are not. */
  badRequests: number;
  badAnswers: number;
  /** Connections that policy closed after a change. */
  cut: number;
}

/** All at nothing. */
export function newCounters(): Counters {
  return {
    accepted: 0,
    open: 0,
    refused: 0,
    strangers: 0,
    unreached: 0,
    busy: 0,
    badRequests: 0,
    badAnswers: 0,
    cut: 0,
  };
}
