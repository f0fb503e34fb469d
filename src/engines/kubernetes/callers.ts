import { type SpiffeId, trustDomainOf } from '../../access/index.ts';
import { type Caller, callerContains } from '../../policy/index.ts';
import type { RenderOptions } from '../engine.ts';
import type { Grant, ProtectedGrants } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { namespaceBelow } from '../namespaces.ts';
import { podsOf } from '../pods.ts';
import { type BlockPeer, MAX_PEERS, type Peer, type PodPeer, subtractPods, type Taken } from './peers.ts';

const ALL_PODS: PodPeer = { kind: 'pods', namespaces: { except: [] }, labels: {}, without: [] };

/** Turns the callers of one workload's rules into peers. */
export class Callers {
  readonly #home: string;
  readonly #options: RenderOptions;
  readonly #losses: Losses;

  constructor({ id }: ProtectedGrants, options: RenderOptions, losses: Losses) {
    this.#home = trustDomainOf(id);
    this.#options = options;
    this.#losses = losses;
  }

  /** The peer that stands for the caller of an allow rule, or undefined, with the loss told, where none can. */
  peerOf(grant: Grant): Peer | undefined {
    const { caller, callerText } = grant;
    switch (caller.kind) {
      case 'cidr':
        return { kind: 'block', text: callerText, cidr: caller.cidr, except: [] };
      case 'exact':
        return this.#workload(grant, caller);
      case 'domain':
        return caller.name === this.#home ? ALL_PODS : this.#foreign(grant);
      case 'prefix':
        return this.#below(grant, caller.prefix);
      case 'entity':
        return this.#left(
          grant,
          'entity',
          `${callerText} names no pods and no addresses: the rule is left out for it.`,
        );
      case 'person':
        return this.#left(
          grant,
          'user-or-group',
          'A NetworkPolicy knows no users or groups: the rule is left out for them.',
        );
    }
  }

  /** `peer`, which stands for the caller of `grant`, without the callers of the deny rules in `denied`. */
  without(peer: Peer, grant: Grant, denied: readonly Grant[]): Peer[] {
    let peers: readonly Peer[] = [peer];
    for (const deny of denied) {
      if (callerContains(deny.caller, grant.caller)) return [];
      if (!callerContains(grant.caller, deny.caller)) continue;
      const next = this.#subtract(peers, deny);
      if (next !== undefined && next.length <= MAX_PEERS) peers = next;
      else {
        this.#losses.add(
          'wider',
          'deny-not-subtracted',
          deny,
          `${deny.callerText} cannot be taken out of a wider caller that rule ${grant.rule} allows: it is let through.`,
        );
      }
    }
    return [...peers];
  }

  #subtract(peers: readonly Peer[], deny: Grant): Peer[] | undefined {
    if (deny.caller.kind === 'cidr') {
      return peers.map((peer) => (peer.kind === 'block' ? withExcept(peer, deny.callerText) : peer));
    }
    const taken = this.#taken(deny);
    if (taken === undefined) return undefined;
    return peers.flatMap((peer): Peer[] => (peer.kind === 'pods' ? subtractPods(peer, taken) : [peer]));
  }

  /** What a denied caller is to a selector; undefined where no selector can tell. */
  #taken({ caller, callerText, policy, rule }: Grant): Taken | undefined {
    if (caller.kind === 'domain') return { kind: 'all' };
    if (caller.kind === 'prefix') {
      const namespace = namespaceBelow(caller.prefix);
      if (namespace === undefined) return undefined;
      return namespace === '' ? { kind: 'all' } : { kind: 'namespace', namespace };
    }
    if (caller.kind !== 'exact') return undefined;
    // A caller that was read from a checked document is a checked ID.
    const pods = podsOf(caller.id as SpiffeId, this.#options, this.#home);
    if (pods === undefined) return undefined;
    if (pods.assumed) {
      this.#losses.add(
        'wider',
        'deny-labels-assumed',
        { policy, rule },
        `The labels of ${callerText}, which is denied, are not known: app: ${pods.labels['app'] ?? ''} was assumed, and pods with other labels are let through.`,
      );
    }
    return { kind: 'labels', namespace: pods.namespace, labels: pods.labels };
  }

  #workload(grant: Grant, { id }: Extract<Caller, { kind: 'exact' }>): Peer | undefined {
    // A caller that was read from a checked document is a checked ID.
    const checked = id as SpiffeId;
    const pods = podsOf(checked, this.#options, this.#home);
    if (pods === undefined) {
      if (trustDomainOf(checked) !== this.#home) return this.#foreign(grant);
      return this.#left(
        grant,
        'not-selectable',
        `Neither the ID nor the state says which pods ${id} has: the rule is left out for it.`,
      );
    }
    if (pods.hostNetwork) {
      return this.#left(
        grant,
        'host-network',
        `${id} runs on its nodes' own network, where no selector finds it: the rule is left out for it.`,
      );
    }
    if (pods.assumed) {
      this.#losses.add(
        'same',
        'labels-assumed',
        grant,
        `The labels of ${id} are not known: its pods are selected by app: ${pods.labels['app'] ?? ''}.`,
      );
    }
    const { namespace, labels } = pods;
    return { kind: 'pods', namespaces: { only: namespace }, labels, without: [] };
  }

  #below(grant: Grant, prefix: string): Peer | undefined {
    if (!prefix.startsWith(`spiffe://${this.#home}/`)) return this.#foreign(grant);
    const namespace = namespaceBelow(prefix);
    if (namespace === undefined) {
      return this.#left(
        grant,
        'not-selectable',
        `${prefix}* is no whole namespace, so no selector stands for it: the rule is left out for it.`,
      );
    }
    return namespace === '' ? ALL_PODS : { ...ALL_PODS, namespaces: { only: namespace } };
  }

  #foreign(grant: Grant): undefined {
    return this.#left(
      grant,
      'other-trust-domain',
      `${grant.callerText} is outside the trust domain of this cluster (${this.#home}), and selectors see pods of this cluster only: the rule is left out for it.`,
    );
  }

  #left(grant: Grant, code: string, what: string): undefined {
    this.#losses.add('narrower', code, grant, what);
    return undefined;
  }
}

function withExcept(peer: BlockPeer, text: string): BlockPeer {
  return peer.except.includes(text) ? peer : { ...peer, except: [...peer.except, text].toSorted() };
}
