import type { Enforcing } from '../enforcement/enforcing.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Reviews } from '../review/index.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Timers } from '../timers.ts';
import type { NotifyConfig } from './config.ts';
import { exceptionsStanding } from './exceptions.ts';
import { flipsStanding, Notifier } from './notifier.ts';
import { authoritiesEnding } from './standing.ts';

export interface StartNotifierOptions {
  readonly config: NotifyConfig;
  readonly plane: ControlPlane;
  readonly enforcing: Enforcing;
  readonly reviews: Reviews;
  readonly metrics: Metrics | undefined;
  /** The console's address, once it is served. */
  readonly origin: () => string | undefined;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/** Tells people what this control plane does. */
export async function startNotifier(options: StartNotifierOptions): Promise<Notifier> {
  const { config, plane, enforcing, reviews, metrics, origin, timers, onFault } = options;
  const { store, recorder, registry, authorities } = plane;
  const notifier = await Notifier.open({
    config,
    store,
    recorder,
    timers,
    origin,
    onFault,
    onOutcome: (channel, outcome, count) => metrics?.countNotifications(channel, outcome, count),
    known: {
      tierOf: (workload) => reviews.tierOf(workload),
      ownersOf: (workload) => reviews.ownersOf(workload),
    },
    standing: (now) => [
      ...authoritiesEnding(authorities.slots, { now, isOffline: registry.domain.root === 'offline' }),
      ...flipsStanding(enforcing.evidence, now),
      ...exceptionsStanding(enforcing.rollouts.all, now),
    ],
  });
  metrics?.followNotifier(notifier);
  return notifier;
}
