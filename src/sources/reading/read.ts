import { InterlockError, isInterlockError, Tally } from '../../access/index.ts';
import { Inventory } from './attribution.ts';
import { detectSource, refuseEmpty } from './detect.ts';
import { feed, type Into } from './feed.ts';
import type { ReadFile, ReadOptions, ReadOutcome } from './outcome.ts';
import { openRecording, type Recording } from './recording.ts';
import type { Format, Source, SourceOptions } from '../source.ts';
import { SOURCES } from '../sources.ts';

/** The format whose facts say who held an address: it is read before the others. */
const INVENTORY: Format = 'kubernetes';

/**
 * Reads recordings, each whole or not at all, and gives an outcome as soon as it is there, so that a tally can be
 * stored before the next is begun.
 *
 * - Inventories come first, so that the addresses in the other files can be attributed. If one of them fails, the
 *   others are not read: what they say would be kept for good without what the inventory knows.
 * - Files of a format that `joins` go into one reader, in one outcome. If one fails, none of them is taken in. If
 *   one turns out to be known, the rest is read again without it.
 */
export async function* readRecordings(
  paths: readonly string[],
  options: ReadOptions,
): AsyncGenerator<ReadOutcome> {
  if (paths.filter((path) => path === '-').length > 1) {
    throw new InterlockError('usage', '-', 'standard input can be read once: name "-" once');
  }
  const command = new Command(options);
  try {
    yield* command.prepare(paths);
    yield* command.read();
  } finally {
    await command.close();
  }
}

/** A file whose source is known. A pipe stays open in `held`; a file is opened again when its turn comes. */
interface Prepared {
  readonly path: string;
  readonly source: Source;
  readonly held: Recording | undefined;
}

/** One run of {@link readRecordings}. */
class Command {
  readonly #options: ReadOptions;
  readonly #inventory: Inventory;
  readonly #prepared: Prepared[] = [];
  /** Digests that this run has read. */
  readonly #seen = new Set<string>();
  #done = 0;
  #total: number | undefined = 0;

  constructor(options: ReadOptions) {
    this.#options = options;
    this.#inventory = new Inventory(options.facts);
  }

  /** Finds the source of every file. */
  async *prepare(paths: readonly string[]): AsyncGenerator<ReadOutcome> {
    for (const path of paths) {
      try {
        this.#prepared.push(await this.#prepareOne(path));
      } catch (error) {
        yield failed([path], error);
      }
    }
  }

  async *read(): AsyncGenerator<ReadOutcome> {
    const inventories = this.#prepared.filter(({ source }) => source.format === INVENTORY);
    let missing: string | undefined;
    for (const each of inventories) {
      for await (const outcome of this.#readTogether([each])) {
        if (outcome.kind === 'read') this.#inventory.add(outcome.tally.facts());
        if (outcome.kind === 'failed') missing = each.path;
        yield outcome;
      }
    }
    for (const group of groups(this.#prepared.filter(({ source }) => source.format !== INVENTORY))) {
      if (missing === undefined) yield* this.#readTogether(group);
      else yield notWithout(missing, group);
    }
  }

  async close(): Promise<void> {
    for (const { held } of this.#prepared) await held?.close();
  }

  async #prepareOne(path: string): Promise<Prepared> {
    const recording = await openRecording(path, this.#options.stdin);
    let keep = false;
    try {
      const source = await this.#sourceOf(recording);
      keep = !recording.repeatable;
      if (recording.size === undefined || this.#total === undefined) this.#total = undefined;
      else this.#total += recording.size;
      return { path, source, held: keep ? recording : undefined };
    } finally {
      if (!keep) await recording.close();
    }
  }

  async #sourceOf(recording: Recording): Promise<Source> {
    const { format, sources = SOURCES } = this.#options;
    const head = await recording.head();
    refuseEmpty(head, recording.name);
    if (format === undefined) return detectSource(head, recording.name, sources, this.#options.fields);
    const source = sources.find((each) => each.format === format);
    if (source === undefined) throw new InterlockError('usage', format, `there is no format "${format}"`);
    return source;
  }

  /** Reads files into one tally. */
  async *#readTogether(group: readonly Prepared[]): AsyncGenerator<ReadOutcome> {
    const start = this.#done;
    // A pipe comes last: when the files before it turn out to be known, they can be read again.
    let pending = group.toSorted((a, b) => Number(a.held !== undefined) - Number(b.held !== undefined));
    try {
      while (pending.length > 0) {
        this.#done = start;
        const read = await this.#readOnce(pending);
        if (read.outcome !== undefined) {
          for (const { digest } of read.outcome.recording.files) this.#seen.add(digest);
          yield read.outcome;
          return;
        }
        yield* read.known.map((file) => ({ kind: 'known', file }) as const);
        pending = read.rest;
      }
    } catch (error) {
      yield failed(
        group.map(({ path }) => path),
        error,
      );
    }
  }

  /** Reads files into one new tally, and says which of them had been read before. */
  async #readOnce(group: readonly Prepared[]) {
    const source = group[0]?.source;
    if (source === undefined) throw new TypeError('nothing to read');
    const { fields, now, carry } = this.#options;
    const kept = carry?.(source.format);
    const options: SourceOptions = {
      now,
      ...(fields === undefined ? {} : { fields }),
      ...(kept === undefined ? {} : { carry: kept }),
    };
    const tally = new Tally(source.format, this.#inventory.attribution());
    const reader = source.open(tally, options);
    const into: Into = {
      source,
      tally,
      reader,
      options,
      inventory: this.#inventory,
      threads: this.#options.threads,
    };
    const files: ReadFile[] = [];
    const known: ReadFile[] = [];
    const rest: Prepared[] = [];
    for (const each of group) {
      const file = await this.#feed(each, into);
      const again =
        this.#seen.has(file.digest) ||
        files.some(({ digest }) => digest === file.digest) ||
        this.#options.known?.(file.digest) === true;
      if (again) known.push(file);
      else {
        files.push(file);
        rest.push(each);
      }
    }
    if (known.length > 0) {
      refuseToReadPipeAgain(rest, known);
      return { known, rest };
    }
    reader.end();
    refuseUnusable(tally, files);
    const recording = { format: source.format, files, takenAt: now };
    return { outcome: { kind: 'read', recording, tally, carry: reader.carry?.() } as const };
  }

  /** Reads one file to its end. */
  async #feed({ path, held }: Prepared, into: Into): Promise<ReadFile> {
    const recording = held ?? (await openRecording(path, this.#options.stdin));
    const before = this.#done;
    try {
      await feed(recording, into, () => {
        this.#done = before + recording.bytesRead;
        const { name: file } = recording;
        const total = this.#total === undefined ? {} : { total: this.#total };
        this.#options.onProgress?.({ file, done: this.#done, ...total });
      });
      return { name: recording.name, digest: recording.digest(), bytes: recording.bytes };
    } finally {
      await recording.close();
    }
  }
}

/** Files whose format joins go together, where the first of them stands; every other file goes alone. */
function groups(files: readonly Prepared[]): Prepared[][] {
  const all: Prepared[][] = [];
  const joined = new Map<Format, Prepared[]>();
  for (const file of files) {
    const group = file.source.joins === true ? joined.get(file.source.format) : undefined;
    if (group !== undefined) {
      group.push(file);
      continue;
    }
    const begun = [file];
    all.push(begun);
    if (file.source.joins === true) joined.set(file.source.format, begun);
  }
  return all;
}

function failed(files: readonly string[], error: unknown): ReadOutcome {
  // Anything else is a fault of this program, and not for the user to mend.
  if (!isInterlockError(error)) throw error;
  return { kind: 'failed', files, error };
}

function notWithout(inventory: string, group: readonly Prepared[]): ReadOutcome {
  const files = group.map(({ path }) => path);
  const message = `${files.join(', ')} was not read, because the inventory ${inventory} could not be: it says whose the addresses are. Mend it or leave it out, and run the command again`;
  return { kind: 'failed', files, error: new InterlockError('invalid_recording', files.join(', '), message) };
}

/** What known files said is in the tally and has to come out: only what can be read again can do without them. */
function refuseToReadPipeAgain(rest: readonly Prepared[], known: readonly ReadFile[]): void {
  const pipe = rest.find(({ held }) => held !== undefined);
  if (pipe === undefined) return;
  const names = known.map(({ name }) => name).join(', ');
  throw new InterlockError(
    'usage',
    names,
    `${names} was taken in before, and ${pipe.path === '-' ? 'standard input' : pipe.path} cannot be read a second time without it: run the command again and leave out ${names}`,
  );
}

/** A recording of which nothing at all could be used is more likely of another format than of nothing. */
function refuseUnusable(tally: Tally, files: readonly ReadFile[]): void {
  const empty = tally.accessCount === 0 && tally.lost.size === 0;
  if (tally.accepted > 0 || !empty || [...tally.blindSpots()].length + [...tally.facts()].length > 0) return;
  const names = files.map(({ name }) => name).join(', ');
  const [first] = [...tally.skips()].toSorted((a, b) => a.firstLine - b.firstLine);
  const why =
    first === undefined
      ? ''
      : `: ${tally.read} read, all left out, the first in line ${first.firstLine}: ${first.reason}`;
  throw new InterlockError(
    'invalid_recording',
    names,
    `nothing in ${names} can be used as ${tally.source}${why}. If it is another format, say so with --format`,
    { place: { file: files[0]?.name } },
  );
}
