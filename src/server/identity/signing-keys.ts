import { type KeyObject, randomBytes } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import { AuthorityIssuer, type RandomBytes, type Signer, signerOf } from '../../identity/index.ts';
import type { KeyVault } from '../keys/key-vault.ts';
import type { Domain } from './domain.ts';
import { certificateOf, domainOf, type Slot } from './slots.ts';

/** An authority that can sign now. */
export interface SigningAuthority {
  readonly slot: Slot;
  readonly issuer: AuthorityIssuer;
}

/** Unpredictable bytes for serial numbers and token IDs. */
export const random: RandomBytes = randomBytes;

/** Keeps the keys of authorities ready, so that signing reads no file. */
export class SigningKeys {
  readonly vault: KeyVault;
  readonly #domain: Domain;
  readonly #now: () => number;
  readonly #ready = new Map<string, SigningAuthority>();

  constructor(vault: KeyVault, domain: Domain, now: () => number) {
    this.vault = vault;
    this.#domain = domain;
    this.#now = now;
  }

  /** The authority of a slot. Throws `not_found` where its key is not here, `state` where the key is another. */
  async of(slot: Slot): Promise<SigningAuthority> {
    const ready = this.#ready.get(slot.id);
    if (ready?.slot === slot) return ready;
    const { issuer } = this.#domain;
    const signer = checked(slot.id, await this.vault.get(slot.id), certificateOf(slot).spki);
    const { jwt } = slot;
    const jwtSigner = jwt && checked(jwt.keyId, await this.vault.get(jwt.keyId), jwt.spki);
    const [certificate = slot.root, ...parents] = slot.intermediates;
    const authority = {
      slot,
      issuer: new AuthorityIssuer({
        chain: certificate === slot.root ? [slot.root] : [certificate, ...parents, slot.root],
        signer,
        ...(jwt && jwtSigner ? { jwt: { signer: jwtSigner, keyId: jwt.keyId, issuer } } : {}),
        trustDomain: domainOf(slot),
        random,
        now: this.#now,
      }),
    };
    this.#ready.set(slot.id, authority);
    return authority;
  }

  /** Forgets the keys of all other slots: another control plane has taken them away. */
  keepOnly(slots: readonly Slot[]): void {
    const kept = new Set(slots.map(({ id }) => id));
    for (const id of this.#ready.keys()) if (!kept.has(id)) this.#ready.delete(id);
  }

  /** Takes the keys of a slot that is gone away for good. */
  async destroy(slot: Slot): Promise<void> {
    this.#ready.delete(slot.id);
    await this.vault.remove(slot.id);
    if (slot.jwt !== undefined) await this.vault.remove(slot.jwt.keyId);
  }
}

function checked(keyId: string, key: KeyObject, spki: Buffer): Signer {
  const signer = signerOf(key);
  if (signer.spki.equals(spki)) return signer;
  throw new InterlockError(
    'state',
    keyId,
    `the key ${keyId} in the vault is not the one that its authority has`,
  );
}
