/** A target that somebody writes: which one they began with, its text then, and theirs. */
export interface Draft {
  readonly target: string;
  readonly before: string;
  readonly text: string;
}

/** Drafts that nobody has saved yet, by workload: kept as long as the console is open. */
export const drafts = new Map<string, Draft>();
