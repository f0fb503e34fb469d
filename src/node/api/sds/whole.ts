import { create } from '@bufbuild/protobuf';
import { discovery } from '../../../proto/index.ts';
import type { WorkloadState } from '../../workloads/workload-book.ts';
import { SECRET_TYPE, secretNames, type SecretStyle, styleFor } from './secrets.ts';
import { assertRequest, refusalOf, secretsOf, type Subscription } from './subscription.ts';

/** The state-of-the-world protocol: each answer holds every secret that was asked for. */
export class WholeSubscription
  implements Subscription<discovery.DiscoveryRequest, discovery.DiscoveryResponse>
{
  readonly #makeNonce: () => string;
  #style: SecretStyle | undefined;
  #names: readonly string[] | undefined;
  #nonce = '';
  /** The versions that were sent last, as one text. */
  #sent: string | undefined;
  #answers = 0;

  constructor(makeNonce: () => string) {
    this.#makeNonce = makeNonce;
  }

  request(request: discovery.DiscoveryRequest): string | undefined {
    const { node, resourceNames, responseNonce, typeUrl, errorDetail } = request;
    assertRequest(typeUrl, resourceNames);
    // The node is said once, in the first request; of all that it says only this is kept.
    this.#style ??= styleFor(node);
    // An answer to something older than the last answer says nothing about today.
    if (responseNonce !== '' && responseNonce !== this.#nonce) return undefined;
    const names = [...new Set(resourceNames)];
    const changed = this.#names === undefined || names.join('\n') !== this.#names.join('\n');
    this.#names = names;
    if (changed) this.#sent = undefined;
    return refusalOf(errorDetail);
  }

  response(state: WorkloadState): discovery.DiscoveryResponse | undefined {
    if (this.#names === undefined) return undefined;
    const names = this.#names.length === 0 ? secretNames(state) : this.#names;
    const secrets = secretsOf(state, names, this.#style ?? styleFor(undefined));
    if (secrets === undefined) return undefined;
    const sent = secrets.map(({ name, version }) => `${name} ${version}`).join('\n');
    if (sent === this.#sent) return undefined;
    this.#sent = sent;
    this.#nonce = this.#makeNonce();
    this.#answers++;
    return create(discovery.DiscoveryResponseSchema, {
      versionInfo: String(this.#answers),
      typeUrl: SECRET_TYPE,
      nonce: this.#nonce,
      resources: secrets.map(({ resource }) => resource),
    });
  }
}
