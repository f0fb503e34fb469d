import { createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import { usedTokensOf } from '../identity/tokens.ts';
import { seal, unseal } from '../keys/sealing.ts';
import type { Timers } from '../timers.ts';
import type { Begun } from './provider.ts';

/** How long a person may take at the provider, milliseconds. */
export const BEGUN_MS = 600_000;
/** The longest path, state, nonce and verifier, sealed, have some 3,400 characters; a browser keeps 4,096. */
const MAX_COOKIE = 4096;
const KEY_BYTES = 32;
const KEY_SETTING = 'sign-in-key';
/** What the cookie is bound to: nothing else that is ever sealed under this key is taken for it. */
const PURPOSE = 'sign-in oidc';

const kept = z.strictObject({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  to: z.string(),
  until: z.number(),
});

/** A sign-in that a browser has begun here, or at another control plane of the same state. */
export interface BegunSignIn extends Begun {
  /** Where it leads to in the end. */
  readonly to: string;
  /** Milliseconds since 1970 UTC. */
  readonly until: number;
}

export interface BegunSignInsParts {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
}

/**
 * Sign-ins that are under way at the provider. Each is sealed into a cookie of the browser that began it, under a key that
 * every control plane of the state has, and is good for one answer of the provider: nobody can make us ask the provider
 * without having begun, and begun anew for each time. The key is in the store as it is: whoever has it can begin sign-ins
 * without asking, and nothing more.
 */
export class BegunSignIns {
  readonly #parts: BegunSignInsParts;
  readonly #key: KeyObject;

  private constructor(parts: BegunSignInsParts, key: KeyObject) {
    this.#parts = parts;
    this.#key = key;
  }

  /** Makes the key where the state has none yet. Throws `state` where it cannot be read, and what the store throws. */
  static async open(parts: BegunSignInsParts): Promise<BegunSignIns> {
    return new BegunSignIns(parts, await keyOf(parts));
  }

  /** For the browser to keep. */
  sealed(begun: Begun & { readonly to: string }): string {
    const until = this.#parts.timers.now() + BEGUN_MS;
    const { state, nonce, verifier, to } = begun;
    return seal(this.#key, PURPOSE, Buffer.from(JSON.stringify({ state, nonce, verifier, to, until })));
  }

  /** What a cookie of ours says; undefined for any other, and for one whose time is over. */
  read(cookie: string | undefined): BegunSignIn | undefined {
    if (cookie === undefined || cookie.length > MAX_COOKIE) return undefined;
    const plain = unseal(this.#key, PURPOSE, cookie);
    if (plain === undefined) return undefined;
    // We have sealed it: it is what we wrote, if not an earlier version of us.
    const begun = kept.safeParse(JSON.parse(plain.toString()));
    return begun.success && this.#parts.timers.now() < begun.data.until ? begun.data : undefined;
  }

  /** Uses it up; false for the second time, at whichever control plane. Throws `unavailable`. */
  use({ state, until }: BegunSignIn): Promise<boolean> {
    const { store, recorder, timers } = this.#parts;
    const name = hash('sha256', `${PURPOSE} ${state}`, 'hex');
    return usedTokensOf(store, recorder).useToken(name, until, timers.now());
  }
}

async function keyOf({ store, recorder }: BegunSignInsParts): Promise<KeyObject> {
  const found = async () => (await recorder.within(store.documents('setting', [KEY_SETTING])))[0]?.data;
  let data = await found();
  if (data === undefined) {
    const made = randomBytes(KEY_BYTES).toString('base64');
    try {
      await recorder.commit([{ change: 'put', kind: 'setting', name: KEY_SETTING, data: made, expect: 0 }]);
      data = made;
    } catch (error) {
      // Another control plane was first.
      if (!isInterlockError(error) || error.code !== 'conflict') throw error;
      data = await found();
    }
  }
  const bytes = typeof data === 'string' ? Buffer.from(data, 'base64') : undefined;
  if (bytes?.length === KEY_BYTES) return createSecretKey(bytes);
  throw new InterlockError(
    'state',
    KEY_SETTING,
    `the setting "${KEY_SETTING}", with which sign-ins are sealed, cannot be read: the state is damaged`,
  );
}
