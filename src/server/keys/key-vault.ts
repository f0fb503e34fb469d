import type { KeyObject } from 'node:crypto';

/** What a key ID looks like: the SHA-1 of the public key, as certificates name it. */
export const KEY_ID: RegExp = /^[0-9a-f]{40}$/;

/**
 * Where the private keys of the authorities are: in files beside the state, or sealed in the database. Errors: `io`,
 * `unavailable`, `not_found`, `state` (open to others, damaged, not the key that its name says). No error holds a part of
 * a key.
 */
export interface KeyVault {
  /** Keeps a key, durably, and gives its key ID. */
  put(key: KeyObject): Promise<string>;
  /** The key of this ID. */
  get(keyId: string): Promise<KeyObject>;
  /** Whether there is a key of this ID. */
  has(keyId: string): Promise<boolean>;
  /** The IDs of all keys. */
  list(): Promise<string[]>;
  /** Takes a key away; one that is not there is no error. */
  remove(keyId: string): Promise<void>;
}
