import { type SpiffeId, trustDomainOf } from '../../access/index.ts';
import type { RenderOptions } from '../engine.ts';
import type { Grant, ProtectedGrants } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { namespaceBelow } from '../namespaces.ts';
import { podsOf } from '../pods.ts';

/** One client that an authentication names: a reference, an identity, or a network. */
export type Client =
  | { readonly kind: 'ref'; readonly ref: Readonly<Record<string, string>> }
  | { readonly kind: 'identity'; readonly identity: string }
  | { readonly kind: 'network'; readonly cidr: string; readonly except: readonly string[] };

/** Every service account of the cluster, by Linkerd's default names (`NAME.NAMESPACE.serviceaccount.identity...`). */
const EVERY_ACCOUNT = '*.serviceaccount.identity.linkerd.cluster.local';

/** Turns the callers of one workload's rules into clients. */
export class Callers {
  readonly #home: string;
  readonly #options: RenderOptions;
  readonly #losses: Losses;

  constructor({ id }: ProtectedGrants, options: RenderOptions, losses: Losses) {
    this.#home = trustDomainOf(id);
    this.#options = options;
    this.#losses = losses;
  }

  /** The client that stands for the caller, or undefined, with the loss told, where none can. */
  clientOf(grant: Grant): Client | undefined {
    const { caller, callerText } = grant;
    switch (caller.kind) {
      case 'cidr': {
        const what =
          'The rule is about callers without an identity; a NetworkAuthentication lets in whoever has the address, workloads with an identity as well.';
        this.#losses.add('wider', 'address-not-identity', grant, what);
        return { kind: 'network', cidr: callerText, except: [] };
      }
      case 'entity':
        return this.#left(grant, 'entity', `Linkerd has no name for ${callerText}`);
      case 'person':
        return this.#left(grant, 'user-or-group', 'Linkerd knows no users or groups');
      case 'domain':
        return caller.name === this.#home ? this.#everyone(grant) : this.#foreign(grant);
      case 'prefix': {
        if (!caller.prefix.startsWith(`spiffe://${this.#home}/`)) return this.#foreign(grant);
        const namespace = namespaceBelow(caller.prefix);
        if (namespace === undefined)
          return this.#left(grant, 'not-selectable', `${callerText} is no whole namespace`);
        if (namespace === '') return this.#everyone(grant);
        return { kind: 'ref', ref: { kind: 'Namespace', name: namespace } };
      }
      case 'exact':
        // A caller that was read from a checked document is a checked ID.
        return this.#workload(grant, caller.id as SpiffeId);
    }
  }

  #workload(grant: Grant, id: SpiffeId): Client | undefined {
    const pods = podsOf(id, this.#options, this.#home);
    if (pods === undefined) {
      if (trustDomainOf(id) !== this.#home) return this.#foreign(grant);
      return this.#left(
        grant,
        'not-selectable',
        `Neither the ID nor the state says which service account ${id} has`,
      );
    }
    if (pods.hostNetwork) {
      return this.#left(
        grant,
        'host-network',
        `${id} runs on its nodes' own network, where it cannot be meshed`,
      );
    }
    const shared = this.#options.workload(id)?.serviceAccount;
    const account = pods.account ?? shared;
    if (account === undefined)
      return this.#left(grant, 'not-selectable', `The service account of ${id} is not known`);
    if (pods.account === undefined) {
      const what = `${id} has no service account of its own: whoever runs under ${pods.namespace}/${account} is let in.`;
      this.#losses.add('wider', 'shared-account', grant, what);
    }
    return { kind: 'ref', ref: { kind: 'ServiceAccount', name: account, namespace: pods.namespace } };
  }

  #everyone(grant: Grant): Client {
    const what = `"${EVERY_ACCOUNT}" is taken for everyone of the trust domain: change it where Linkerd's identity domain is another.`;
    this.#losses.add('same', 'identity-domain', grant, what);
    return { kind: 'identity', identity: EVERY_ACCOUNT };
  }

  #foreign(grant: Grant): undefined {
    const why = `${grant.callerText} is outside the trust domain of this cluster (${this.#home}), and Linkerd's name for it is not known`;
    return this.#left(grant, 'other-trust-domain', why);
  }

  #left(grant: Grant, code: string, why: string): undefined {
    this.#losses.add('narrower', code, grant, `${why}: the rule is left out for it.`);
    return undefined;
  }
}
