import { isInterlockError } from '../../access/index.ts';
import type { JoinToken, JoinTokens } from '../../identity/index.ts';
import type { IdentityStore, StoredJoinToken } from '../../store/index.ts';
import { tooMany } from '../api/retry-after.ts';
import { Attempts } from '../attempts.ts';
import { bareAddress } from '../peer-address.ts';
import { SharedLook } from '../shared-look.ts';
import type { Timers } from '../timers.ts';
import type { Recorder } from './recorder.ts';

/** Attestations that may fail in one minute, from one address and from all; beyond, one in 100 ms is looked at. */
const MOST_FAILED = { each: 30, all: 1000, oneInMs: 100 } as const;
/** Join tokens in one minute that are not there, before the store is asked for no single one of them. */
const MOST_MISSED = { each: 30, all: 30 } as const;
/** What looks at a token costs one question to the store, and not a signature: it is always looked at. */
const CHEAP = new Set(['join_token']);

/**
 * Keeps what evidence of strangers costs within bounds. A join token is looked at all the same, as the store is then asked one
 * question for many of them: nobody keeps a node out by guessing from its address. Of other evidence some is looked at in each
 * second.
 */
export class AttestGate {
  readonly #attempts: Attempts;

  constructor(timers: Timers) {
    this.#attempts = new Attempts(timers, MOST_FAILED);
  }

  /** Throws what `attest` throws, and `limit` with the time to wait. `address` with its port. */
  async tried<T>(address: string, attestor: string, attest: () => Promise<T>): Promise<T> {
    const from = bareAddress(address.replace(/:\d+$/, ''));
    const seconds = CHEAP.has(attestor) ? 0 : this.#attempts.waitToTry(from);
    if (seconds > 0) throw tooMany('attestation', 'too many attestations have failed', seconds);
    try {
      return await attest();
    } catch (error) {
      if (!isInterlockError(error) || OWN.has(error.code)) throw error;
      const wait = this.#attempts.failed(from);
      if (wait === 0) throw error;
      throw tooMany('attestation', 'too many attestations have failed', wait);
    }
  }
}

/** A state of the control plane's own: it counts for nobody's guess. */
const OWN: ReadonlySet<string> = new Set(['unavailable', 'io', 'state', 'conflict', 'limit']);

interface GuessedParts {
  readonly store: Pick<IdentityStore, 'takeJoinToken' | 'joinTokens'>;
  readonly recorder: Pick<Recorder, 'within'>;
  readonly timers: Timers;
}

/**
 * Where the attestor finds join tokens: in the store, with a limit on how long it may take. Where many that are not there are asked
 * for, all that wait are answered by one look at those that are: one question at a time, however many guess.
 */
export class GuessedTokens implements JoinTokens {
  readonly #parts: GuessedParts;
  readonly #missed: Attempts;
  readonly #present: SharedLook<ReadonlySet<string>>;

  constructor(parts: GuessedParts) {
    this.#parts = parts;
    this.#missed = new Attempts(parts.timers, MOST_MISSED);
    this.#present = new SharedLook(() => this.#look());
  }

  async takeJoinToken(hash: string): Promise<JoinToken | undefined> {
    const { store, recorder } = this.#parts;
    if (this.#missed.wait('') > 0 && !(await this.#present.ask()).has(hash)) return undefined;
    const taken: StoredJoinToken | undefined = await recorder.within(store.takeJoinToken(hash));
    if (taken === undefined) this.#missed.failed('');
    return taken;
  }

  async #look(): Promise<ReadonlySet<string>> {
    const { store, recorder } = this.#parts;
    const tokens = await recorder.within(store.joinTokens());
    return new Set(tokens.map(({ hash }) => hash));
  }
}
