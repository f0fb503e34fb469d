import { createPrivateKey, type KeyObject } from 'node:crypto';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { keyIdOf, spkiOf } from '../../identity/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import { KEY_ID, type KeyVault } from './key-vault.ts';
import { seal, unseal } from './sealing.ts';

/** Name of the setting by which a wrong key file is known, and what it holds. */
const CHECK_SETTING = 'key-check';
const CHECK_TEXT = 'interlock';

/**
 * The private keys in the store, each sealed under the key of a file that every replica has, and bound to its key ID:
 * who has the database alone has no key, and one that is put in another's place is refused.
 */
export class SealedVault implements KeyVault {
  readonly #store: IdentityStore;
  readonly #sealing: KeyObject;

  private constructor(store: IdentityStore, sealing: KeyObject) {
    this.#store = store;
    this.#sealing = sealing;
  }

  /**
   * `sealing` is a secret key of 32 bytes; `file` names where it is from. The first one that opens a store is the one for
   * all time. Throws `untrusted` for another one, and what the store throws.
   */
  static async open(store: IdentityStore, sealing: KeyObject, file: string): Promise<SealedVault> {
    await SealedVault.check(store, sealing, file, true);
    return new SealedVault(store, sealing);
  }

  /** Throws `untrusted` where the store's keys are sealed under another key. `keep`: the first one is kept to be known by. */
  static async check(store: IdentityStore, sealing: KeyObject, file: string, keep: boolean): Promise<void> {
    const name = CHECK_SETTING;
    const found = async () => (await store.documents('setting', [name]))[0]?.data;
    let known = await found();
    if (known === undefined && keep) {
      const data = seal(sealing, CHECK_SETTING, Buffer.from(CHECK_TEXT));
      try {
        await store.commit([{ change: 'put', kind: 'setting', name, data, expect: 0 }]);
        return;
      } catch (error) {
        // Another replica was first: it has the same key, or one of the two is wrong.
        if (!isInterlockError(error) || error.code !== 'conflict') throw error;
        known = await found();
      }
    }
    if (known === undefined && !keep) return;
    const text = typeof known === 'string' ? unseal(sealing, CHECK_SETTING, known)?.toString() : undefined;
    if (text === CHECK_TEXT) return;
    throw new InterlockError(
      'untrusted',
      file,
      `the key in ${file} is not the one that the keys in the database are sealed with: give every control plane the same file`,
    );
  }

  async put(key: KeyObject): Promise<string> {
    const keyId = keyIdOf(spkiOf(key));
    const data = seal(this.#sealing, aadOf(keyId), key.export({ type: 'pkcs8', format: 'der' }));
    await this.#store.commit([{ change: 'put', kind: 'key', name: keyId, data }]);
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
    const der =
      typeof document.data === 'string' ? unseal(this.#sealing, aadOf(keyId), document.data) : undefined;
    const key = der && keyOf(der);
    if (key !== undefined && keyIdOf(spkiOf(key)) === keyId) return key;
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
}

const aadOf = (keyId: string) => `key ${keyId}`;

function assertKeyId(keyId: string): void {
  if (!KEY_ID.test(keyId)) throw new TypeError('a key ID is 40 lower-case hex digits');
}

function keyOf(der: Buffer): KeyObject | undefined {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch {
    // The cause may quote the key: it goes nowhere.
    return undefined;
  }
}
