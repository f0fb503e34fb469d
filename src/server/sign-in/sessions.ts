import { z } from 'zod';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Answer, type Caller, type Role, ROLES } from '../../api/index.ts';
import type { Change, IdentityStore, StoredDocument } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { newSecret, secretHash } from './secret.ts';

/** Longest life of a session, and how long one lasts that nobody uses; milliseconds. */
const LIFE_MS = 12 * 3_600_000;
const IDLE_MS = 3_600_000;
/** How exactly the last use is kept, and how often sessions that are over are looked for. */
const SEEN_MS = 60_000;
const LOOK_MS = 30_000;
/** Sessions at one time of one person, and of all: the one that was not used for longest makes room. */
const MAX_EACH = 20;
const MAX_ALL = 5000;
/** Sessions that are looked for in the database at once. */
const MAX_LOOKUPS = 16;
/** Digits of the hash that name a session. */
const ID_DIGITS = 24;

const kept = z.strictObject({
  who: z.string(),
  roles: z.array(z.enum(ROLES)),
  at: z.number(),
  lastSeen: z.number(),
  until: z.number(),
});
type Kept = z.output<typeof kept>;

interface Session extends Kept {
  readonly hash: string;
  version: number;
  lastSeen: number;
  /** The last use that the store knows of. */
  keptSeen: number;
  readonly ended: AbortController;
}

export interface SessionsParts {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
  /** Other control planes may start and end sessions of the same state. */
  readonly isShared?: boolean;
}

/** Who signs in, and what is recorded of it. */
export interface NewSession {
  readonly who: string;
  readonly roles: readonly Role[];
  /** How: for the audit log. */
  readonly by: string;
}

/**
 * Who has signed in with a browser. A session is found by the SHA-256 of its secret, which the store keeps in place of
 * the secret; all of them are in memory, and follow what other replicas record.
 */
export class Sessions {
  readonly #parts: SessionsParts;
  readonly #sessions = new Map<string, Session>();
  /** Hashes of those that ended here, until they would have anyway: the store may still know them for a moment. */
  readonly #gone = new Map<string, number>();
  readonly #behind = new Set<Promise<void>>();
  #unwatch = () => {};
  #cancel = () => {};
  #loading: Promise<void> | undefined;
  #again = false;
  #lookups = 0;

  private constructor(parts: SessionsParts) {
    this.#parts = parts;
  }

  /** Throws `state`, `io`, `unavailable`. */
  static async open(parts: SessionsParts): Promise<Sessions> {
    const sessions = new Sessions(parts);
    sessions.#unwatch = await parts.store.watch(({ own, missed, touched }) => {
      if (missed === true || (!own && touched.some(({ kind }) => kind === 'session'))) sessions.#follow();
    });
    await sessions.#load();
    sessions.#look();
    return sessions;
  }

  /**
   * A new session with a new secret: nothing that the browser had before is taken over. `changes` are made with it or
   * not at all. Throws what the store throws.
   */
  async create(
    { who, roles, by }: NewSession,
    changes: readonly Change[] = [],
  ): Promise<{ secret: string; until: number }> {
    const { recorder, timers } = this.#parts;
    const secret = newSecret();
    const hash = secretHash(secret) ?? '';
    const at = timers.now();
    const data: Kept = { who, roles: [...roles], at, lastSeen: at, until: at + LIFE_MS };
    const gone = this.#tooMany(who);
    await recorder.commit(
      [...changes, ...gone.map(removalOf), { change: 'put', kind: 'session', name: hash, data, expect: 0 }],
      recorder.entry(who, 'session.start', hash.slice(0, ID_DIGITS), { by, roles: [...roles] }),
    );
    for (const session of gone) this.#drop(session);
    this.#put(hash, 1, data);
    return { secret, until: data.until };
  }

  /** As {@link callerOf}, also for one who has signed in at another control plane a moment ago. */
  async meet(secret: string): Promise<Caller | undefined> {
    const hash = secretHash(secret);
    const { isShared, recorder, store } = this.#parts;
    const isKnown = hash === undefined || this.#sessions.has(hash) || this.#gone.has(hash);
    // Who guesses is answered without the database when that is busy with others who guess.
    if (!isKnown && isShared === true && this.#lookups < MAX_LOOKUPS) {
      this.#lookups++;
      try {
        const found = await recorder.within(store.documents('session', [hash]));
        for (const document of found) this.#take(document);
      } finally {
        this.#lookups--;
      }
    }
    return this.callerOf(secret);
  }

  /** Who has this secret, or undefined where it is of no session that goes on. Counts as a use. */
  callerOf(secret: string): Caller | undefined {
    const session = this.#find(secret);
    if (session === undefined) return undefined;
    const { who, roles, ended } = session;
    this.#use(session);
    return { who, roles: new Set(roles), isLocal: false, session: idOf(session), ended: ended.signal };
  }

  list(who: string | undefined, current: string | undefined): Answer<'sessions.list'>['sessions'] {
    const now = this.#parts.timers.now();
    return [...this.#sessions.values()]
      .filter((session) => !isOver(session, now) && (who === undefined || session.who === who))
      .toSorted((a, b) => b.lastSeen - a.lastSeen)
      .map((session) => ({
        id: idOf(session),
        who: session.who,
        roles: session.roles,
        at: session.at,
        lastSeen: session.lastSeen,
        until: Math.min(session.until, session.lastSeen + IDLE_MS),
        isThis: idOf(session) === current,
      }));
  }

  /** Ends a session by its ID; only one of `who` where that is given. Throws `not_found`. */
  async end(by: string, id: string, who?: string): Promise<void> {
    const session = [...this.#sessions.values()].find((each) => idOf(each) === id);
    if (session === undefined || (who !== undefined && session.who !== who))
      throw new InterlockError('not_found', id.slice(0, 80), 'there is no such session: it may have ended');
    const { recorder } = this.#parts;
    // It ends here first: a store that hangs must not keep it open.
    this.#drop(session);
    await recorder.record([removalOf(session)], recorder.entry(by, 'session.end', id, { of: session.who }));
  }

  /** Ends every session's streams, not the sessions; what was being recorded is recorded. */
  async close(): Promise<void> {
    this.#unwatch();
    this.#cancel();
    for (const session of this.#sessions.values()) this.#drop(session);
    await Promise.all(this.#behind);
  }

  #find(secret: string): Session | undefined {
    const hash = secretHash(secret);
    const session = hash === undefined ? undefined : this.#sessions.get(hash);
    if (session === undefined) return undefined;
    if (!isOver(session, this.#parts.timers.now())) return session;
    this.#end(session);
    return undefined;
  }

  #use(session: Session): void {
    const now = this.#parts.timers.now();
    session.lastSeen = Math.max(session.lastSeen, now);
    if (now - session.keptSeen < SEEN_MS) return;
    session.keptSeen = now;
    const { hash, version, who, roles, at, lastSeen, until } = session;
    const data: Kept = { who, roles, at, lastSeen, until };
    // With its version: a session that was ended elsewhere is not brought back by its last use here.
    const put: Change = { change: 'put', kind: 'session', name: hash, data, expect: version };
    this.#inBackground(
      this.#parts.recorder.commit([put]).then(
        () => void (session.version = version + 1),
        (error: unknown) => {
          if (!isInterlockError(error) || error.code !== 'conflict') throw error;
          this.#follow();
        },
      ),
    );
  }

  /** Nobody waits for it but the end. */
  #inBackground(work: Promise<void>): void {
    const done = work.catch(this.#parts.onFault).finally(() => this.#behind.delete(done));
    this.#behind.add(done);
  }

  /** Sessions that have to end so that there is room for one more of `who`. */
  #tooMany(who: string): Session[] {
    const all = [...this.#sessions.values()].toSorted((a, b) => a.lastSeen - b.lastSeen);
    const own = all.filter((session) => session.who === who);
    if (own.length >= MAX_EACH) return own.slice(0, own.length - MAX_EACH + 1);
    return all.length >= MAX_ALL ? all.slice(0, 1) : [];
  }

  #look(): void {
    this.#cancel = this.#parts.timers.after(LOOK_MS, () => {
      const now = this.#parts.timers.now();
      for (const session of this.#sessions.values()) if (isOver(session, now)) this.#end(session);
      for (const [hash, until] of this.#gone) if (until <= now) this.#gone.delete(hash);
      this.#look();
    });
  }

  /** Forgets one that is over, here and in the store. */
  #end(session: Session): void {
    this.#drop(session);
    this.#inBackground(this.#parts.recorder.commit([removalOf(session)]));
  }

  #drop(session: Session): void {
    this.#sessions.delete(session.hash);
    this.#gone.set(session.hash, session.until);
    session.ended.abort();
  }

  #put(hash: string, version: number, data: Kept): void {
    const ended = new AbortController();
    this.#sessions.set(hash, { ...data, hash, version, keptSeen: data.lastSeen, ended });
  }

  /** Another replica has started, used or ended one. What comes while it is read is read afterwards. */
  #follow(): void {
    if (this.#loading !== undefined) {
      this.#again = true;
      return;
    }
    this.#loading = this.#load().finally(() => {
      this.#loading = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#follow();
    });
    this.#inBackground(this.#loading);
  }

  async #load(): Promise<void> {
    const before = new Set(this.#sessions.keys());
    const documents = await this.#parts.recorder.within(this.#parts.store.documents('session'));
    for (const document of documents) this.#take(document);
    const names = new Set(documents.map(({ name }) => name));
    // Only those that were there when the store was asked: one that was started since is not in its answer.
    for (const hash of before) {
      const session = this.#sessions.get(hash);
      if (session !== undefined && !names.has(hash)) this.#drop(session);
    }
  }

  #take({ name, version, data }: StoredDocument): void {
    const parsed = kept.safeParse(data);
    if (!parsed.success) return;
    const known = this.#sessions.get(name);
    if (known !== undefined) {
      known.version = Math.max(known.version, version);
      known.lastSeen = Math.max(known.lastSeen, parsed.data.lastSeen);
      return;
    }
    if (!this.#gone.has(name)) this.#put(name, version, parsed.data);
  }
}

function idOf({ hash }: Session): string {
  return hash.slice(0, ID_DIGITS);
}

function isOver({ until, lastSeen }: Session, now: number): boolean {
  return now >= until || now >= lastSeen + IDLE_MS;
}

function removalOf({ hash }: Session): Change {
  return { change: 'remove', kind: 'session', name: hash };
}
