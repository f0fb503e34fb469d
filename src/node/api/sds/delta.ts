import { create } from '@bufbuild/protobuf';
import { discovery } from '../../../proto/index.ts';
import type { WorkloadState } from '../../workloads/workload-book.ts';
import { SECRET_TYPE, secretNames, type SecretStyle, styleFor } from './secrets.ts';
import { assertRequest, refusalOf, secretsOf, type Subscription } from './subscription.ts';

/** A subscription to everything, under which its own names come and go. */
const EVERYTHING = '*';

/** The delta protocol: each answer holds what is new or changed, and the names of what is gone. */
export class DeltaSubscription
  implements Subscription<discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse>
{
  readonly #makeNonce: () => string;
  #style: SecretStyle | undefined;
  readonly #names = new Set<string>();
  /** Versions that the proxy has, by name. */
  readonly #versions = new Map<string, string>();
  #first = true;
  #answers = 0;

  constructor(makeNonce: () => string) {
    this.#makeNonce = makeNonce;
  }

  request(request: discovery.DeltaDiscoveryRequest): string | undefined {
    const { node, resourceNamesSubscribe, resourceNamesUnsubscribe, typeUrl, errorDetail } = request;
    assertRequest(typeUrl, resourceNamesSubscribe, this.#names.size);
    this.#style ??= styleFor(node);
    if (this.#first) {
      this.#first = false;
      // A first request without names asks for everything (xDS protocol, wildcard subscriptions).
      if (resourceNamesSubscribe.length === 0) this.#names.add(EVERYTHING);
      // What the proxy kept from a stream before: it is not sent again while it is the same.
      const kept = Object.entries(request.initialResourceVersions);
      // Names and versions: both are kept, and neither may be long.
      assertRequest(typeUrl, kept.flat(), -kept.length);
      for (const [name, version] of kept) {
        this.#versions.set(name, version);
      }
    }
    for (const name of resourceNamesSubscribe) {
      // A name that is asked for again is answered again, even with the same version.
      if (this.#names.has(name)) this.#versions.delete(name);
      this.#names.add(name);
    }
    for (const name of resourceNamesUnsubscribe) {
      this.#names.delete(name);
      this.#versions.delete(name);
    }
    return refusalOf(errorDetail);
  }

  response(state: WorkloadState): discovery.DeltaDiscoveryResponse | undefined {
    const own = [...this.#names].filter((name) => name !== EVERYTHING);
    const names = this.#names.has(EVERYTHING) ? [...new Set([...own, ...secretNames(state)])] : own;
    const secrets = secretsOf(state, names, this.#style ?? styleFor(undefined));
    if (secrets === undefined) return undefined;
    const changed = secrets.filter(({ name, version }) => this.#versions.get(name) !== version);
    const present = new Set(names);
    const gone = [...this.#versions.keys()].filter((name) => !present.has(name));
    if (changed.length === 0 && gone.length === 0) return undefined;
    for (const { name, version } of changed) this.#versions.set(name, version);
    for (const name of gone) this.#versions.delete(name);
    this.#answers++;
    return create(discovery.DeltaDiscoveryResponseSchema, {
      systemVersionInfo: String(this.#answers),
      typeUrl: SECRET_TYPE,
      nonce: this.#makeNonce(),
      resources: changed.map(({ name, version, resource }) => ({ name, version, resource })),
      removedResources: gone,
    });
  }
}
