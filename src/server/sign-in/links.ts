import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import type { Change, IdentityStore, StoredDocument } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import { SharedLook } from '../shared-look.ts';
import type { Timers } from '../timers.ts';
import { newSecret, secretHash } from './secret.ts';

/** How long a link may be used, milliseconds. */
const LIFE_MS = 10 * 60_000;
/** Links that nobody has used yet, at one time. */
const MAX_OPEN = 100;
/** Digits of the hash that name a link in the audit log. */
const NAME_DIGITS = 8;

const kept = z.strictObject({ until: z.number() });

export interface LinksParts {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
}

/** A link that was shown, about to be used up. */
export interface OpenLink {
  /** As the audit log names who signs in by it: `link:1f2e3d4c`. */
  readonly who: string;
  /** Uses it up: of two who make this change, one fails with `conflict`. */
  readonly change: Change;
}

/** Links that sign one person in, once. Only the SHA-256 of each is kept. */
export class SignInLinks {
  readonly #parts: LinksParts;
  /** All of them as they are now. */
  readonly #all: SharedLook<StoredDocument[]>;

  constructor(parts: LinksParts) {
    this.#parts = parts;
    const { recorder, store } = parts;
    this.#all = new SharedLook(() => recorder.within(store.documents('sign-in-link')));
  }

  /** A new one. Throws `limit` where too many are open. */
  async make(by: string): Promise<{ secret: string; until: number }> {
    const { recorder, timers } = this.#parts;
    const now = timers.now();
    const all = await this.#all.ask();
    const over = all.filter(({ data }) => untilOf(data) <= now);
    if (all.length - over.length >= MAX_OPEN)
      throw new InterlockError(
        'limit',
        'sign-in-links',
        `${MAX_OPEN} links are open that nobody has used: use one of them, or wait ten minutes`,
      );
    const secret = newSecret();
    const hash = secretHash(secret) ?? '';
    const until = now + LIFE_MS;
    await recorder.commit(
      [
        ...over.map(({ name }) => ({ change: 'remove', kind: 'sign-in-link', name }) as const),
        { change: 'put', kind: 'sign-in-link', name: hash, data: { until } },
      ],
      recorder.entry(by, 'sign-in-link.make', nameOf(hash), { until }),
    );
    return { secret, until };
  }

  /** The link of a secret. Undefined for one that is unknown, used up or too old. */
  async find(secret: string): Promise<OpenLink | undefined> {
    const hash = secretHash(secret);
    if (hash === undefined) return undefined;
    const found = (await this.#all.ask()).find(({ name }) => name === hash);
    if (found === undefined || untilOf(found.data) <= this.#parts.timers.now()) return undefined;
    const change: Change = { change: 'remove', kind: 'sign-in-link', name: hash, expect: found.version };
    return { who: nameOf(hash), change };
  }
}

function untilOf(data: unknown): number {
  const parsed = kept.safeParse(data);
  return parsed.success ? parsed.data.until : 0;
}

function nameOf(hash: string): string {
  return `link:${hash.slice(0, NAME_DIGITS)}`;
}
