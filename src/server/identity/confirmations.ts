import type { Confirmations } from '../../identity/index.ts';
import type { AgentLink } from './control-plane.ts';
import type { Registry } from './registry.ts';
import type { Replicas } from './replicas.ts';

export interface ConfirmationsParts {
  readonly registry: Registry;
  readonly link: AgentLink;
  readonly replicas: Replicas;
  /** Since when agents could connect here. */
  readonly since: number;
}

/** Which bundles the agents at every control plane have confirmed. */
export function confirmationsOf({ registry, link, replicas, since }: ConfirmationsParts): Confirmations {
  // Asked for at every word of every agent, and looked at only while an authority waits for them: each is worked out
  // when it is read.
  return {
    get oldest() {
      const [here, elsewhere] = [link.oldestBundles(), replicas.oldestBundles()];
      return here === undefined || elsewhere === undefined ? (here ?? elsewhere) : Math.min(here, elsewhere);
    },
    get behind() {
      const { version } = registry.bundles.current;
      const elsewhere = replicas.agents().flatMap(({ id, bundles }) => (bundles < version ? [id] : []));
      return [...new Set([...link.behind(version), ...elsewhere])];
    },
    // The agents of one that is gone are on their way to another.
    since: Math.max(since, replicas.lostAt),
  };
}
