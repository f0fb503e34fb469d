import type { TLSSocket } from 'node:tls';
import { InterlockError } from '../../access/index.ts';
import {
  type Authorizer,
  judge,
  type MtlsPolicy,
  type Peer,
  presentedChain,
  sameTrust,
  type X509State,
  type X509View,
} from '../../workload/index.ts';

/** Most chains whose verification is remembered for one identity; the oldest goes first. */
const MAX_REMEMBERED = 4_096;

/** Whom peers are judged with: everything of {@link MtlsPolicy}. */
export type PeerPolicy = Omit<MtlsPolicy, 'source'> & { readonly source: X509View };

/**
 * Proves who is at the other end of finished handshakes. A chain that was verified is not verified again while the same
 * authorities and revocations stand, for its own life: only the handshake's signature, which OpenSSL has checked, is new
 * each time. The authorizer is asked each time.
 */
export class Peers {
  readonly #policy: PeerPolicy;
  readonly #known = new Map<string, Peer>();
  #state: X509State;

  constructor(policy: PeerPolicy) {
    this.#policy = policy;
    this.#state = policy.source.state;
  }

  /** Chains that are remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** Throws `untrusted` or `invalid_certificate` for a chain that proves nothing, `forbidden` for one not expected. */
  prove(socket: TLSSocket, now: number, authorize: Authorizer = this.#policy.authorize): Peer {
    if (socket.isSessionReused()) {
      throw new InterlockError(
        'untrusted',
        'peer',
        'the peer resumed a session, which proves no certificate anew',
      );
    }
    return this.judge(presentedChain(socket), now, authorize);
  }

  /** Judges a chain; errors as {@link prove}. */
  judge(presented: readonly Buffer[], now: number, authorize: Authorizer = this.#policy.authorize): Peer {
    const { state } = this.#policy.source;
    if (state !== this.#state) {
      if (!sameTrust(this.#state, state)) this.#known.clear();
      this.#state = state;
    }
    const key = keyOf(presented);
    const known = this.#known.get(key);
    const policy = { ...this.#policy, authorize };
    if (known === undefined || known.expiresAt < now || this.#isRevoked(known)) {
      const peer = judge(presented, policy, now);
      if (this.#known.size >= MAX_REMEMBERED) {
        const [oldest] = this.#known.keys();
        if (oldest !== undefined) this.#known.delete(oldest);
      }
      this.#known.set(key, peer);
      return peer;
    }
    if ((authorize.allows(known) as unknown) !== true) {
      throw new InterlockError(
        'forbidden',
        known.spiffeId,
        `the peer is ${known.spiffeId}, and ${authorize.expects} is expected`,
      );
    }
    return known;
  }

  #isRevoked({ spiffeId }: Peer): boolean {
    return this.#policy.revokedIds?.().has(spiffeId) === true;
  }
}

function keyOf(presented: readonly Buffer[]): string {
  const [leaf] = presented;
  const text = leaf === undefined ? '' : leaf.toString('latin1');
  return presented.length === 1 ? text : Buffer.concat(presented).toString('latin1');
}
