import { MAX_WAIT_MS, mayCall } from '../../../api/index.ts';
import { readPolicies } from '../../../policy/index.ts';
import { promotionChecks, strictChecks, type WorkloadRollout } from '../../../rollout/index.ts';
import { flipKey, unreachedKey } from '../../../store/index.ts';
import type { ChangeProgress } from '../../enforcement/changes.ts';
import type { Handlers } from '../handler.ts';
import { sortedPageOf } from '../page.ts';
import type { ApiParts } from '../parts.ts';
import { SyncTurns } from '../sync-turns.ts';
import { decidedOn, rolloutShown, versionOf } from '../versions.ts';

/** Policies and their rollouts. */
export function rolloutHandlers({
  enforcing,
  gatekeeper,
  syncOrigins,
}: ApiParts): Handlers<
  | 'policies.list'
  | 'policies.apply'
  | 'policies.remove'
  | 'rollouts.list'
  | 'rollouts.get'
  | 'rollouts.move'
  | 'rollouts.hold'
  | 'rollouts.authenticate'
  | 'gates.get'
  | 'preflight.get'
> {
  const { rollouts } = enforcing;
  const changed = ({ done, change }: { done: WorkloadRollout; change: string }) => ({
    rollout: rolloutShown(done),
    change,
  });
  return {
    'policies.list': ({ query }) => {
      const of = query.workload === undefined ? rollouts.all.values() : [rollouts.get(query.workload)];
      const all = [...of].flatMap(policiesOf);
      const page = sortedPageOf(all, query, ({ workload, name, sets }) => `${workload} ${name} ${sets[0]}`);
      const policies = page.items.map((item) => {
        const origin = syncOrigins.shown(item.workload, item.document);
        return origin === undefined ? item : { ...item, origin };
      });
      return { policies, next: page.next };
    },
    'policies.apply': async ({ who, body: { yaml, file } }) => {
      const policies = readPolicies(yaml, file);
      const { done, change } = await enforcing.following(() => rollouts.apply(who, policies));
      return { ...done, change };
    },
    'policies.remove': async ({ who, params: { workload, policy }, ifMatch }) =>
      changed(
        await enforcing.following(() =>
          rollouts.remove(who, workload, policy, decidedOn(rollouts, workload, ifMatch)),
        ),
      ),
    'rollouts.list': ({ query }) => {
      const page = sortedPageOf(rollouts.all.values(), query, ({ workload }) => workload);
      return { rollouts: page.items.map(rolloutShown), next: page.next };
    },
    'rollouts.get': ({ params: { workload }, setVersion }) => {
      const rollout = rollouts.get(workload);
      setVersion(versionOf(rollout));
      const { target, enforced } = rollout;
      return {
        ...rolloutShown(rollout),
        targetPolicies: target,
        ...(enforced === undefined ? {} : { enforcedPolicies: enforced }),
        origins: Object.entries({ target, enforced: enforced ?? [] }).flatMap(([set, policies]) =>
          policies.flatMap((policy) => {
            const origin = syncOrigins.shown(workload, policy);
            // The names of the object above.
            const named = { policy: policy.metadata.name, set: set as 'target' | 'enforced' };
            return origin === undefined ? [] : [{ ...named, ...origin }];
          }),
        ),
      };
    },
    'rollouts.move': async ({ who, caller, params: { workload }, body, ifMatch }) => {
      const at = decidedOn(rollouts, workload, ifMatch);
      const order = await gatekeeper.order({ who, mayGoOn: mayCall('approver', caller) }, workload, body);
      return changed(
        await enforcing.following(() => rollouts.move(who, workload, body.to, { ...order, ...at })),
      );
    },
    'rollouts.hold': async ({ who, params: { workload }, body: { why } }) => ({
      rollout: rolloutShown(await rollouts.hold(who, workload, why ?? undefined)),
    }),
    'rollouts.authenticate': async ({ who, params: { workload }, body, ifMatch }) =>
      changed(
        await enforcing.following(() =>
          rollouts.authenticate(who, workload, body.stage, decidedOn(rollouts, workload, ifMatch)),
        ),
      ),
    'gates.get': () => enforcing.rules,
    'preflight.get': async ({ params: { workload } }) => {
      const { promotion, evidence, ...known } = gatekeeper.facts(await gatekeeper.look(workload));
      const { lastDrill } = promotion;
      return {
        ...known,
        ...(lastDrill === undefined ? {} : { lastDrill }),
        gates: promotionChecks({ ...known, promotion, ...(evidence && { evidence }) }, enforcing.rules.gates),
        strict: strictChecks(known),
      };
    },
  };
}

/** Every document of a rollout once, with the sets that it is in. */
function policiesOf({ workload, target, enforced = [] }: WorkloadRollout) {
  const texts = new Map(enforced.map((policy) => [JSON.stringify(policy), policy]));
  const both = target.map((document) => {
    const isEnforced = texts.delete(JSON.stringify(document));
    const sets = isEnforced ? (['target', 'enforced'] as const) : (['target'] as const);
    return { workload, name: document.metadata.name, sets, document };
  });
  const left = [...texts.values()].map((document) => ({
    workload,
    name: document.metadata.name,
    sets: ['enforced'] as const,
    document,
  }));
  return [...both, ...left];
}

/** The points that enforce, what they saw, and the red button. */
export function enforcementHandlers({
  enforcing,
  plane,
  timers,
}: ApiParts): Handlers<
  | 'changes.get'
  | 'releases.list'
  | 'releases.press'
  | 'releases.arm'
  | 'releases.drill'
  | 'points.list'
  | 'points.forget'
  | 'flips.list'
  | 'unreached.list'
  | 'envoy-proxies.list'
  | 'envoy-proxies.apply'
  | 'envoy-proxies.remove'
> {
  const { releases, points, changes, evidence, documents } = enforcing;
  const turns = new SyncTurns({ store: plane.store, recorder: plane.recorder, timers });
  return {
    'changes.get': async ({ params: { id }, query: { known, waitMs } }) =>
      progressShown(await changes.wait(id, known, Math.min(waitMs, MAX_WAIT_MS))),
    'releases.list': () => ({
      releases: releases.inForce,
      drills: releases.drills,
      local: [...points.all].flatMap(({ key, connected, releasedHere = [] }) =>
        releasedHere.map((release) => ({ proxy: key, connected, ...release })),
      ),
    }),
    'releases.press': async ({ who, body }) => {
      const { done, change } = await enforcing.following(() => releases.press(who, body));
      return { release: done, change };
    },
    'releases.arm': async ({ who, body }) => {
      const { done, change } = await enforcing.following(() => releases.arm(who, body.id));
      return { ended: done, change };
    },
    'releases.drill': async ({ who, body }) => progressShown(await enforcing.drill(who, body.waitMs)),
    'points.list': ({ query }) => {
      const all = query.workload === undefined ? points.all : points.of(query.workload);
      const page = sortedPageOf(all, query, ({ key }) => key);
      return { points: page.items, next: page.next };
    },
    'points.forget': async ({ who, body: { key } }) => {
      await enforcing.forget(who, key);
      return { forgotten: key };
    },
    'flips.list': ({ query: { to, since, ...query } }) => {
      const filter = { ...(to === undefined ? {} : { to }), ...(since === undefined ? {} : { since }) };
      const flips = evidence.flips(filter);
      // Whoever asks for all of them gets the newest first; pages are in an order that does not change meanwhile.
      if (query.after === undefined && flips.length <= query.limit) return { flips };
      const page = sortedPageOf(flips, query, flipKey);
      return { flips: page.items, next: page.next };
    },
    'unreached.list': ({ query: { from, since, ...query } }) => {
      const filter = { ...(from === undefined ? {} : { from }), ...(since === undefined ? {} : { since }) };
      const calls = evidence.unreached(filter);
      // As flips are shown.
      if (query.after === undefined && calls.length <= query.limit) return { unreached: calls };
      const page = sortedPageOf(calls, query, unreachedKey);
      return { unreached: page.items, next: page.next };
    },
    'envoy-proxies.list': () => ({
      proxies: [...documents.all.values()].map(({ workload, text, origin }) => ({
        workload,
        text,
        ...(origin === undefined ? {} : { origin }),
      })),
    }),
    'envoy-proxies.apply': async ({ who, body: { yaml, file = 'the document', source, was } }) => {
      if (source !== undefined) await turns.check(source.name, source.holder);
      const origin = source && {
        source: source.name,
        file,
        ...(source.commit === undefined ? {} : { commit: source.commit }),
        ...(source.branch === undefined ? {} : { branch: source.branch }),
        by: who,
        at: timers.now(),
      };
      const { done, change } = await enforcing.following(() =>
        documents.apply(who, yaml, file, { origin, was }),
      );
      return { workload: done.workload, change };
    },
    'envoy-proxies.remove': async ({ who, params: { workload } }) => {
      await documents.remove(who, workload);
      return { removed: workload };
    },
  };
}

function progressShown({ confirmed, waiting, ...rest }: ChangeProgress) {
  const named = ({ key, identity, instance, connected, fault }: (typeof waiting)[number]['point']) => ({
    key,
    identity,
    instance,
    connected,
    ...(fault === undefined ? {} : { fault }),
  });
  return {
    ...rest,
    confirmed: confirmed.map(({ point, ms }) => ({ ...named(point), ms })),
    waiting: waiting.map(({ point }) => named(point)),
  };
}
