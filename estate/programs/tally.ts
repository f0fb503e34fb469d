import { log } from './program.ts';

/** How the calls of a program went, as it tells whoever started it. */
export interface Tally {
  readonly calls: number;
  readonly failed: number;
  /** Rounds that went through to their end: shopping sessions with an order, reports. */
  readonly rounds: number;
  /** The first failures, as they were. */
  readonly failures: readonly string[];
}

const MAX_FAILURES = 20;
const TELL_MS = 200;
const failures: string[] = [];
let calls = 0;
let failed = 0;
let rounds = 0;

/** Makes a call and counts how it went. Throws what the call throws. */
export async function counted<T>(what: string, call: Promise<T>): Promise<T> {
  calls++;
  try {
    return await call;
  } catch (error) {
    failed++;
    const text = `${new Date().toISOString()} ${what}: ${error instanceof Error ? error.message : String(error)}`;
    if (failures.length < MAX_FAILURES) failures.push(text);
    log('failed', { what: text });
    throw error;
  }
}

/** Counts a round that went through. */
export function roundDone(): void {
  rounds++;
}

/** Goes on telling the counts to whoever started this program. */
export function tellTally(): void {
  const tally = (): Tally => ({ calls, failed, rounds, failures });
  setInterval(() => process.send?.({ tally: tally() }), TELL_MS);
}
