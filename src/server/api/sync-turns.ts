import { z } from 'zod';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { Answer, Checked } from '../../api/index.ts';
import type { IdentityStore, StoredDocument } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';

/** Sources that are remembered, and how many one caller may have the turn of at one time. */
const MOST_SOURCES = 1000;
const MOST_OF_ONE = 100;
/** How long one is remembered that nobody syncs any more; milliseconds. */
const REMEMBERED_MS = 90 * 86_400_000;

const schema = z.strictObject({
  holder: z.string(),
  kind: z.enum(['once', 'watch']),
  by: z.string(),
  host: z.string().exactOptional(),
  commit: z.string().exactOptional(),
  branch: z.string().exactOptional(),
  since: z.number(),
  at: z.number(),
  until: z.number(),
  fault: z.string().exactOptional(),
});
type Turn = z.output<typeof schema>;
type Order = Checked<'syncs.take', 'body'>;

export interface SyncTurnsParts {
  readonly store: Pick<IdentityStore, 'documents'>;
  readonly recorder: Recorder;
  readonly timers: Pick<Timers, 'now'>;
}

/**
 * Whose turn it is to sync from a source: one run at a time, so that two that have different commits checked out do not undo
 * each other's work for ever. A turn ends when it is given back, or when its run was not heard of for as long as it said.
 * It is kept in the store, so it holds at all replicas.
 */
export class SyncTurns {
  readonly #parts: SyncTurnsParts;

  constructor(parts: SyncTurnsParts) {
    this.#parts = parts;
  }

  async list(): Promise<Answer<'syncs.list'>['syncs']> {
    const all = await this.#all();
    return all
      .map(({ source, turn }) => {
        // Whoever knew it could go on in its place.
        const { holder: _, ...shown } = turn;
        return { source, ...shown };
      })
      .toSorted((a, b) => (a.source < b.source ? -1 : 1));
  }

  /** Takes the turn, keeps it, or gives it back. Throws `conflict` where another run has it, `limit`. */
  async take(who: string, order: Order): Promise<{ until: number }> {
    const { source, holder, kind, host, commit, branch, forMs, fault } = order;
    const all = await this.#all();
    const now = this.#parts.timers.now();
    this.#refuse(all, source, holder, now);
    const own = all.find((each) => each.source === source);
    const isGoingOn = own?.turn.holder === holder;
    // Who gives back what is somebody else's by now gives back nothing.
    if (forMs === 0 && !isGoingOn) return { until: now };
    const old = this.#forgotten(all, who, source, now);
    const until = now + forMs;
    const data: Turn = {
      holder,
      kind,
      by: who,
      ...(host === undefined ? {} : { host }),
      ...(commit === undefined ? {} : { commit }),
      ...(branch === undefined ? {} : { branch }),
      since: isGoingOn ? own.turn.since : now,
      at: now,
      until,
      ...(fault === undefined ? {} : { fault }),
    };
    try {
      await this.#parts.recorder.commit([
        { change: 'put', kind: 'sync', name: source, data, expect: own?.version ?? 0 },
        ...old.map(({ source: name, version: expect }) => ({
          change: 'remove' as const,
          kind: 'sync' as const,
          name,
          expect,
        })),
      ]);
    } catch (error) {
      if (!isInterlockError(error) || error.code !== 'conflict') throw error;
      throw new InterlockError('conflict', source, `another sync of ${source} has begun at the same moment`);
    }
    return { until };
  }

  /** Throws `conflict` where the turn of a source is another run's. */
  async check(source: string, holder: string | undefined): Promise<void> {
    this.#refuse(await this.#all(), source, holder, this.#parts.timers.now());
  }

  /** Which sources make room for another one: those that nobody syncs any more. Throws `limit`. */
  #forgotten(all: readonly Known[], who: string, source: string, now: number): Known[] {
    const others = all.filter((each) => each.source !== source);
    const running = others.filter(({ turn }) => turn.until > now);
    // So that no single caller keeps all others from theirs.
    if (running.filter(({ turn }) => turn.by === who).length >= MOST_OF_ONE)
      throw new InterlockError('limit', source, `${who} has the turn of ${MOST_OF_ONE} sources already`);
    if (running.length >= MOST_SOURCES)
      throw new InterlockError('limit', source, `${MOST_SOURCES} sources are being synced from`);
    const over = others
      .filter(({ turn }) => turn.until <= now)
      .toSorted((a, b) => b.turn.until - a.turn.until);
    const room = MOST_SOURCES - 1 - running.length;
    return over.filter(({ turn }, i) => i >= room || turn.until + REMEMBERED_MS < now);
  }

  /** A source that lies in another one is part of it. */
  #refuse(all: readonly Known[], source: string, holder: string | undefined, now: number): void {
    const other = all.find(
      ({ source: name, turn }) =>
        turn.until > now && turn.holder !== holder && (isWithin(name, source) || isWithin(source, name)),
    );
    if (other === undefined) return;
    const { kind, by, host, commit } = other.turn;
    const at = `${host === undefined ? '' : ` on ${host}`}${commit === undefined ? '' : ` at ${commit.slice(0, 12)}`}`;
    throw new InterlockError(
      'conflict',
      source,
      kind === 'watch'
        ? `${other.source} is kept in step by "interlock sync --watch" of ${by}${at}: change what that one reads, or stop it first`
        : `${other.source} is being synced by ${by}${at}: wait until that has ended`,
      { details: { turn: kind } },
    );
  }

  async #all(): Promise<Known[]> {
    return (await this.#parts.store.documents('sync')).flatMap(known);
  }
}

/** Whether a source is another one or a directory of it: of the same repository, by whole names of directories. */
function isWithin(inner: string, outer: string): boolean {
  const [a, b] = [partsOf(inner), partsOf(outer)];
  return a.repository === b.repository && a.path.startsWith(b.path);
}

function partsOf(source: string): { readonly repository: string; readonly path: string } {
  const end = source.indexOf('//');
  const [repository, path] = end < 0 ? [source, ''] : [source.slice(0, end), source.slice(end + 2)];
  return {
    repository: repository.replace(/\/$/, ''),
    path: path === '' || path.endsWith('/') ? path : `${path}/`,
  };
}

interface Known {
  readonly source: string;
  readonly version: number;
  readonly turn: Turn;
}

function known({ name, version, data }: StoredDocument): Known[] {
  const read = schema.safeParse(data);
  // A newer program's turn is one all the same: it is kept for as long as it says.
  if (read.success) return [{ source: name, version, turn: read.data }];
  const loose = z.looseObject({ until: z.number() }).safeParse(data);
  const until = loose.success ? loose.data.until : 0;
  return [
    { source: name, version, turn: { holder: '', kind: 'watch', by: 'another', since: 0, at: 0, until } },
  ];
}
