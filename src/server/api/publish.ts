import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Estate } from '../estate/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Reviews } from '../review/index.ts';
import type { Events } from './events.ts';

/** Tells the readers of events what changes; the function given back stops that. */
export function publishChanges(
  events: Events,
  parts: { plane: ControlPlane; enforcing: Enforcing; estate: Estate; reviews: Reviews },
): () => void {
  const { plane, enforcing, estate, reviews } = parts;
  const stops = [
    enforcing.onChange((change) =>
      change.what === 'rollout' ? events.publish('rollout', change.workload) : events.publish('release', ''),
    ),
    enforcing.points.subscribe(({ key }) => events.publish('point', key)),
    enforcing.evidence.onFlip(({ to }) => events.publish('flip', to)),
    estate.onChange(() => events.publish('access', '')),
    reviews.onChange((workload) => events.publish('proposal', workload)),
    plane.recorder.onCommit((changes, entry) => {
      if (changes.some(({ change }) => change !== 'put' && change !== 'remove'))
        events.publish('identity', '');
      if (entry !== undefined) events.publish('audit', entry.act);
    }),
    plane.registry.bundles.subscribe(() => events.publish('identity', '')),
    plane.registry.rules.subscribe(() => events.publish('identity', '')),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
