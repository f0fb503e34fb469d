import type { TouchedKind } from '../../store/index.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Estate } from '../estate/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Reviews } from '../review/index.ts';
import type { Events } from './events.ts';

/** What another control plane touches of identities. Rollouts, releases and reviews are followed by what holds them. */
const IDENTITY: ReadonlySet<TouchedKind> = new Set([
  'agent',
  'authority',
  'below',
  'bundle',
  'child',
  'cutover',
  'issued',
  'join-token',
  'joined',
  'peer',
  'region',
  'revocation',
  'rule',
]);

/** Tells the readers of events what changes, here and at other control planes of the same database; the function given back stops that. */
export async function publishChanges(
  events: Events,
  parts: { plane: ControlPlane; enforcing: Enforcing; estate: Estate; reviews: Reviews },
): Promise<() => void> {
  const { plane, enforcing, estate, reviews } = parts;
  const unwatch = await plane.store.watch(({ own, missed, touched }) => {
    if (own) return;
    const has = (fits: (kind: TouchedKind) => boolean) =>
      missed === true || touched.some(({ kind }) => fits(kind));
    if (has((kind) => IDENTITY.has(kind))) events.publish('identity', '');
    if (has((kind) => kind === 'audit')) events.publish('audit', '');
  });
  const stops = [
    unwatch,
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
    plane.replicas.subscribe(() => events.publish('replica', '')),
    plane.registry.bundles.subscribe(() => events.publish('identity', '')),
    plane.registry.rules.subscribe(() => events.publish('identity', '')),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
