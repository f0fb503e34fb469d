import type { TLSSocket } from 'node:tls';
import type { InterlockError } from '../../access/index.ts';
import { interlockErrorOf } from '../api-error.ts';
import type { Clock } from '../clock.ts';
import type { X509State } from '../x509-state.ts';
import { judge, type MtlsPolicy, type Peer } from './peer.ts';

/** What becomes of an open connection when the certificate that opened it ends. */
export type AtExpiry = 'close' | 'keep';

/** How open connections are watched. */
export interface ConnectionOptions {
  readonly policy: MtlsPolicy;
  readonly clock: Clock;
  readonly atExpiry: AtExpiry;
  /** Told why a connection was cut. */
  readonly onCut: (error: InterlockError, peer: Peer) => void;
}

interface Open {
  readonly peer: Peer;
  callOff: () => void;
}

/**
 * The open connections of one policy. A connection must not outlive what it was opened with: when bundles or CRLs
 * change, each peer is judged again, and one that would be refused now is cut; so is one whose certificate has ended.
 */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #open = new Map<TLSSocket, Open>();
  #seen: X509State;
  readonly #stopListening: () => void;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#seen = options.policy.source.state;
    this.#stopListening = options.policy.source.onUpdate((state) => {
      const before = this.#seen;
      this.#seen = state;
      if (!sameTrust(before, state)) this.judgeAgain();
    });
  }

  get size(): number {
    return this.#open.size;
  }

  sockets(): IterableIterator<TLSSocket> {
    return this.#open.keys();
  }

  add(socket: TLSSocket, peer: Peer): void {
    if (socket.destroyed) return;
    const open: Open = { peer, callOff: () => {} };
    this.#open.set(socket, open);
    socket.once('close', () => {
      open.callOff();
      this.#open.delete(socket);
    });
    if (this.#options.atExpiry === 'close') this.#awaitEnd(socket, open);
  }

  /** Judges every peer by the policy of this moment, and cuts those that it refuses. */
  judgeAgain(): void {
    const { policy, clock } = this.#options;
    // A pool has many connections of one peer: its chain is judged once.
    const judged = new Map<string, InterlockError | undefined>();
    for (const [socket, { peer }] of this.#open) {
      const key = Buffer.concat([...peer.presented]).toString('latin1');
      if (!judged.has(key)) judged.set(key, this.#faultOf(peer, policy, clock.now()));
      const fault = judged.get(key);
      if (fault !== undefined) this.#cut(socket, fault, peer);
    }
  }

  /** Stops watching; what is open stays open. */
  close(): void {
    this.#stopListening();
    for (const open of this.#open.values()) open.callOff();
  }

  #faultOf(peer: Peer, policy: MtlsPolicy, now: number): InterlockError | undefined {
    // Where ended certificates may stay, the chain is judged as of its last moment; revocation still counts.
    const at = this.#options.atExpiry === 'keep' ? Math.min(now, peer.expiresAt) : now;
    try {
      judge(peer.presented, policy, at);
      return undefined;
    } catch (error) {
      return interlockErrorOf(peer.spiffeId, error);
    }
  }

  #awaitEnd(socket: TLSSocket, open: Open): void {
    const { clock, policy } = this.#options;
    // A timer may fire early: one takes 24 days at most.
    open.callOff = clock.after(open.peer.expiresAt + 1 - clock.now(), () => {
      const fault = this.#faultOf(open.peer, policy, clock.now());
      if (fault === undefined) this.#awaitEnd(socket, open);
      else this.#cut(socket, fault, open.peer);
    });
  }

  #cut(socket: TLSSocket, fault: InterlockError, peer: Peer): void {
    this.#open.delete(socket);
    socket.destroy();
    this.#options.onCut(fault, peer);
  }
}

/** Whether both states trust the same authorities and hold the same revocations. */
export function sameTrust(a: X509State, b: X509State): boolean {
  return (
    a.crls.length === b.crls.length &&
    a.crls.every(({ der }, i) => b.crls[i]?.der.equals(der)) &&
    a.bundles.size === b.bundles.size &&
    [...a.bundles].every(([trustDomain, { x509Authorities }]) => {
      const other = b.bundles.get(trustDomain)?.x509Authorities;
      return (
        other?.length === x509Authorities.length && x509Authorities.every((der, i) => other[i]?.equals(der))
      );
    })
  );
}
