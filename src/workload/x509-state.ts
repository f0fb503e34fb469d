import type { KeyObject } from 'node:crypto';
import type { SpiffeId } from '../access/index.ts';
import type { Bundles, Certificate, Crl } from '../identity/index.ts';

/** An X.509 identity with its private key. */
export interface X509Svid {
  readonly spiffeId: SpiffeId;
  /** The leaf first, then the intermediates below the bundle's authority. */
  readonly chain: readonly Certificate[];
  readonly key: KeyObject;
  /** When the first certificate on the way to the bundle's authority ends, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** The operator's word for which of several identities this is; "" for none. */
  readonly hint: string;
}

/** Everything X.509 that a workload holds at one moment. */
export interface X509State {
  /** The identity to act with. */
  readonly svid: X509Svid;
  /** All identities that were given, as they were ordered. */
  readonly svids: readonly X509Svid[];
  /** Whom to trust, by bare trust domain name; the own domain is among them. */
  readonly bundles: Bundles;
  /** What authorities of these bundles revoked. */
  readonly crls: readonly Crl[];
}

/**
 * Where mutual TLS takes its identity and its trust from: an {@link X509Source}, or an own source of a program that
 * signs for itself.
 */
export interface X509View {
  readonly state: X509State;
  /** Calls `listener` with every later state, until the function it gives back is called. */
  onUpdate(listener: (state: X509State) => void): () => void;
}
