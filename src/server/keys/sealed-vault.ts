import { createPrivateKey, type KeyObject } from 'node:crypto';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { keyIdOf, spkiOf } from '../../identity/index.ts';
import type { Change, IdentityStore, StoredDocument } from '../../store/index.ts';
import type { SealingKey } from './key-file.ts';
import { KeyRing } from './key-ring.ts';
import { KEY_ID, type KeyVault } from './key-vault.ts';

/** Name of the setting that says which key seals, by being sealed with it; and what it holds. */
const CHECK_SETTING = 'key-check';
const CHECK_TEXT = 'interlock';
/** How often a commit is tried that others were faster with. */
const MOST_TRIES = 20;

/** With which key the keys of a store are sealed. */
export interface SealedKeys {
  /** The key that seals what is new; undefined of a store that is new itself. */
  readonly sealing: string | undefined;
  /** How many keys each one has sealed; "" is that of one that cannot be known without opening. */
  readonly sealed: ReadonlyMap<string, number>;
}

/**
 * The private keys in the store, each sealed under a key of a file that every replica has, and bound to its key ID: who has
 * the database alone has no key, and one that is put in another's place is refused. Which key of the file seals is kept in
 * the store, not in the file: a key that one replica has got and another has not yet seals nothing.
 */
export class SealedVault implements KeyVault {
  readonly #store: IdentityStore;
  readonly ring: KeyRing;

  private constructor(store: IdentityStore, ring: KeyRing) {
    this.#store = store;
    this.ring = ring;
  }

  /** A store that is new is sealed under the first key. Throws `untrusted` where a key is missing, and what the store throws. */
  static async open(store: IdentityStore, ring: KeyRing): Promise<SealedVault> {
    await SealedVault.check(store, ring, true);
    return new SealedVault(store, ring);
  }

  /**
   * Throws `untrusted` where the store's keys, or one of them, are sealed with a key that the file does not hold: nobody
   * starts without all of them. `keep`: a new store is sealed from now on. `isHeld`: what counts as held.
   */
  static async check(
    store: IdentityStore,
    ring: KeyRing,
    keep: boolean,
    isHeld: (id: string) => boolean = (id) => ring.ids.includes(id),
  ): Promise<void> {
    const find = async () => (await store.documents('setting', [CHECK_SETTING]))[0];
    let known = await find();
    if (known === undefined && keep && (await store.documents('key')).length === 0) {
      try {
        await store.commit([checkOf(ring.keys[0], 0)]);
        return;
      } catch (error) {
        // Another replica was first: it has the same key, or one of the two is wrong.
        if (!isInterlockError(error) || error.code !== 'conflict') throw error;
        known = await find();
      }
    }
    if (known !== undefined && !isHeld(opensCheck(ring, known) ?? '')) throw wrongKey(ring, known.data);
    const closed = (await store.documents('key')).filter(
      ({ name, data }) => !isHeld(ring.open(aadOf(name), textOf(data))?.id ?? ''),
    );
    // What is damaged is said where it is used; what another key has sealed is that key's.
    const others = new Map<string, number>();
    for (const { data } of closed) {
      const id = KeyRing.idOf(textOf(data));
      if (id !== undefined && !isHeld(id)) others.set(id, (others.get(id) ?? 0) + 1);
    }
    const [other] = others;
    if (other !== undefined) throw missingKey(ring, ...other);
    if (known === undefined && closed.length > 0) throw wrongKey(ring, undefined);
  }

  /** With which key which are sealed, by what they say and, where they say nothing, by which one opens them. */
  static async look(store: IdentityStore, ring: KeyRing): Promise<SealedKeys> {
    const [check] = await store.documents('setting', [CHECK_SETTING]);
    const sealed = new Map<string, number>();
    for (const { name, data } of await store.documents('key')) {
      const text = textOf(data);
      const id = KeyRing.idOf(text) ?? ring.open(aadOf(name), text)?.id ?? '';
      sealed.set(id, (sealed.get(id) ?? 0) + 1);
    }
    const sealing = check && (opensCheck(ring, check) ?? KeyRing.idOf(textOf(check.data)));
    return { sealing, sealed };
  }

  /** Throws `untrusted` where some of the keys are sealed with a key that this process has never had. */
  well(): Promise<void> {
    return SealedVault.check(this.#store, this.ring, false, (id) => this.ring.of(id) !== undefined);
  }

  async put(key: KeyObject): Promise<string> {
    const keyId = keyIdOf(spkiOf(key));
    const plain = key.export({ type: 'pkcs8', format: 'der' });
    await this.#withSealing(async (sealing, check) => {
      const data = KeyRing.seal(sealing, aadOf(keyId), plain);
      // Whoever reseals at this moment is in each other's way with this, or nobody would seal it anew.
      await this.#store.commit([check, { change: 'put', kind: 'key', name: keyId, data }]);
    });
    return keyId;
  }

  async get(keyId: string): Promise<KeyObject> {
    assertKeyId(keyId);
    const [document] = await this.#store.documents('key', [keyId]);
    if (document === undefined)
      throw new InterlockError(
        'not_found',
        keyId,
        `there is no private key ${keyId} in the database: prepare a new authority`,
      );
    const sealed = textOf(document.data);
    const key = keyOf(this.ring.open(aadOf(keyId), sealed)?.plain);
    if (key !== undefined && keyIdOf(spkiOf(key)) === keyId) return key;
    const id = KeyRing.idOf(sealed);
    if (id !== undefined && this.ring.of(id) === undefined) throw missingKey(this.ring, id, 1);
    throw new InterlockError('state', keyId, `the private key ${keyId} in the database is damaged`);
  }

  async has(keyId: string): Promise<boolean> {
    return (await this.#store.documents('key', [keyId])).length > 0;
  }

  async list(): Promise<string[]> {
    return (await this.#store.documents('key')).map(({ name }) => name).filter((name) => KEY_ID.test(name));
  }

  async remove(keyId: string): Promise<void> {
    assertKeyId(keyId);
    await this.#store.commit([{ change: 'remove', kind: 'key', name: keyId }]);
  }

  /** With which key which are sealed. */
  sealed(): Promise<SealedKeys> {
    return SealedVault.look(this.#store, this.ring);
  }

  /**
   * Seals under the first key of the file: what is new from now on, then each key that another one has sealed, and gives
   * how many these were. `wanted` is the one that all replicas are known to have: where the file begins with another one by now,
   * nothing is changed. Whoever is stopped half-way begins again and goes on. Throws `untrusted` for keys that no key of
   * the file opens, `conflict` where others are faster again and again.
   */
  async reseal(wanted?: string): Promise<number> {
    const [first] = this.ring.reread();
    if (wanted !== undefined && first.id !== wanted)
      throw new InterlockError(
        'conflict',
        first.id,
        `${this.ring.file} begins with the key ${first.id} now, and did with ${wanted} a moment ago: nothing is resealed; say it again`,
      );
    await this.#withSealing(async (sealing, _, version) => {
      if (sealing.id !== first.id) await this.#store.commit([checkOf(first, version)]);
    });
    let done = 0;
    for (const { name } of await this.#store.documents('key'))
      if (await this.#resealOne(name, first.id)) done++;
    return done;
  }

  async #resealOne(name: string, first: string): Promise<boolean> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const [document] = await this.#store.documents('key', [name]);
      // An authority that is gone has taken its key with it.
      if (document === undefined || KeyRing.idOf(textOf(document.data)) === first) return false;
      const opened = this.ring.open(aadOf(name), textOf(document.data));
      const sealing = this.ring.of(first);
      if (opened === undefined || sealing === undefined)
        throw missingKey(this.ring, KeyRing.idOf(textOf(document.data)) ?? 'another key', 1);
      const data = KeyRing.seal(sealing, aadOf(name), opened.plain);
      try {
        await this.#store.commit([{ change: 'put', kind: 'key', name, data, expect: document.version }]);
        return true;
      } catch (error) {
        if (!isInterlockError(error) || error.code !== 'conflict') throw error;
      }
    }
    throw new InterlockError('conflict', name, `the key ${name} is changed again and again: try again`);
  }

  /** Does something with the key that seals now; again where that was changed meanwhile. */
  async #withSealing(
    step: (sealing: SealingKey, check: Change, version: number) => Promise<void>,
  ): Promise<void> {
    for (let tries = 1; ; tries++) {
      const [check] = await this.#store.documents('setting', [CHECK_SETTING]);
      const id = check && opensCheck(this.ring, check);
      const sealing = id === undefined ? undefined : this.ring.of(id);
      if (check === undefined || sealing === undefined) throw wrongKey(this.ring, check?.data);
      const { data, version } = check;
      const same: Change = { change: 'put', kind: 'setting', name: CHECK_SETTING, data, expect: version };
      try {
        return await step(sealing, same, version);
      } catch (error) {
        if (!isInterlockError(error) || error.code !== 'conflict' || tries >= MOST_TRIES) throw error;
      }
    }
  }
}

function checkOf(key: SealingKey, expect: number): Change {
  const data = KeyRing.seal(key, CHECK_SETTING, Buffer.from(CHECK_TEXT));
  return { change: 'put', kind: 'setting', name: CHECK_SETTING, data, expect };
}

/** The key that seals, where the ring has it. */
function opensCheck(ring: KeyRing, { data }: StoredDocument): string | undefined {
  const opened = ring.open(CHECK_SETTING, textOf(data));
  return opened?.plain.toString() === CHECK_TEXT ? opened.id : undefined;
}

function wrongKey(ring: KeyRing, check: unknown): InterlockError {
  const id = KeyRing.idOf(textOf(check));
  const named = id === undefined ? 'sealed with' : `sealed with (${id})`;
  return new InterlockError(
    'untrusted',
    ring.file,
    `the key in ${ring.file} (${ring.ids.join(', ')}) is not the one that the keys in the database are ${named}: give every control plane the same file`,
  );
}

function missingKey(ring: KeyRing, id: string, n: number): InterlockError {
  return new InterlockError(
    'untrusted',
    ring.file,
    `${n === 1 ? 'a private key' : `${n} private keys`} in the database ${n === 1 ? 'is' : 'are'} still sealed with ${id}, which ${ring.file} (${ring.ids.join(', ')}) does not hold: put it back, and remove it only when "interlock authority keys" shows nothing of it`,
  );
}

const aadOf = (keyId: string) => `key ${keyId}`;
const textOf = (data: unknown) => (typeof data === 'string' ? data : '');

function assertKeyId(keyId: string): void {
  if (!KEY_ID.test(keyId)) throw new TypeError('a key ID is 40 lower-case hex digits');
}

function keyOf(der: Buffer | undefined): KeyObject | undefined {
  if (der === undefined) return undefined;
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch {
    // The cause may quote the key: it goes nowhere.
    return undefined;
  }
}
