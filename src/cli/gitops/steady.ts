import { lstatSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Documents, isDocumentFile, readDirectory } from './documents.ts';
import { type Checkout, checkoutAround } from './git.ts';
import { isPassedOver, MAX_DEPTH, MAX_ENTRIES } from './tree.ts';

/** What was written less than this ago may be the first of several writes; milliseconds. */
const SETTLE_MS = 100;
/** How long what is being changed is waited for, and how often it is looked at; milliseconds. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 50;

/** A directory as it was at one moment: no half of one commit and half of another. */
export interface Steady {
  readonly here: Documents;
  readonly checkout: Checkout | undefined;
}

export interface SteadyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly patienceMs?: number;
  readonly withProxies?: boolean;
  readonly read?: typeof readDirectory;
}

/**
 * Reads a directory while nobody changes it. Git holds `index.lock` while it writes files, and moves HEAD last; what else
 * writes there is known by the times of the files, before and after. Throws `conflict` where it is being changed for
 * longer than ten seconds, and what `readDirectory` throws, once that is so of a directory that stands still.
 */
export async function readSteadily(dir: string, options: SteadyOptions = {}): Promise<Steady> {
  const { signal, patienceMs = PATIENCE_MS, read = readDirectory, withProxies = false } = options;
  const until = performance.now() + patienceMs;
  for (;;) {
    signal?.throwIfAborted();
    const before = look(dir);
    let outcome: { readonly read: Steady } | { readonly error: unknown } | undefined;
    if (before.lock === undefined && before.age >= SETTLE_MS) {
      try {
        const checkout = checkoutAround(dir);
        outcome = { read: { here: await read(dir, { withProxies }), checkout } };
      } catch (error) {
        // A file that is gone since its name was read, or half a document: is it so of what stands still?
        if (!isInterlockError(error)) throw error;
        outcome = { error };
      }
      const after = look(dir);
      if (after.lock === undefined && after.print === before.print) {
        if ('read' in outcome) return outcome.read;
        throw outcome.error;
      }
    }
    if (performance.now() > until) throw restless(dir, before.lock);
    await wait(before.lock === undefined ? Math.max(LOOK_MS, SETTLE_MS - before.age) : LOOK_MS, undefined, {
      signal,
    });
  }
}

interface Look {
  /** One text for one state of names, sizes and times. */
  readonly print: string;
  /** Of the youngest change, milliseconds; none in the future: clocks of other machines are not ours. */
  readonly age: number;
  /** The file by which Git says that it is at work. */
  readonly lock: string | undefined;
}

/** Names, sizes and times of what is read, and of what is checked out. Throws nothing: what is not there is no part of it. */
function look(dir: string): Look {
  const parts: string[] = [];
  let youngest = 0n;
  let entries = 0;
  const note = (path: string) => {
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return false;
    parts.push(`${path} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`);
    if (stat.ctimeNs > youngest) youngest = stat.ctimeNs;
    return stat.isDirectory();
  };
  // No deeper and no further than `readTree` goes before it refuses.
  const visit = (path: string, depth: number) => {
    if (!note(path) || depth > MAX_DEPTH) return;
    for (const entry of namesOf(path)) {
      if (++entries > MAX_ENTRIES) return;
      if (isPassedOver(entry.name)) continue;
      if (entry.isDirectory()) visit(join(path, entry.name), depth + 1);
      else if (isDocumentFile(entry.name)) note(join(path, entry.name));
    }
  };
  let lock: string | undefined;
  try {
    visit(realpathSync(dir), 0);
    const checkout = checkoutAround(dir);
    if (checkout !== undefined) {
      parts.push(`${checkout.commit} ${checkout.branch}`);
      lock = ['index.lock', 'HEAD.lock'].map((name) => join(checkout.git, name)).find(isThere);
    }
  } catch {
    // What is wrong with it is said by whoever reads it.
  }
  const age = Date.now() - Number(youngest / 1_000_000n);
  return { print: parts.join('\n'), age: age < 0 ? SETTLE_MS : age, lock };
}

function namesOf(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}

const isThere = (path: string) => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

function restless(dir: string, lock: string | undefined): InterlockError {
  return new InterlockError(
    'conflict',
    dir,
    lock === undefined
      ? `"${dir}" is being changed all the time: nothing was done`
      : `Git is at work on "${dir}", or was stopped while it was: nothing was done. If no git runs there, remove ${lock}`,
  );
}
