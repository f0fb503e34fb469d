import type { Bundle, IdentityRule } from '../../identity/index.ts';
import type { Change } from '../../store/index.ts';
import type { BelowRevocations } from '../agents/desk.ts';
import { type Abroad, abroadChanges } from './abroad.ts';
import { belowJson } from './below.ts';
import { keptBundle } from './bundle-limits.ts';
import type { Step } from './registry.ts';
import { type Slot, slotToJson } from './slots.ts';
import { UPSTREAM_SETTING, upstreamJson } from './states.ts';

/** What a step may change, as it is before that. */
export interface Before {
  readonly slots: readonly Slot[];
  readonly foreign: ReadonlyMap<string, Bundle>;
  readonly abroad: Abroad;
  readonly below: ReadonlyMap<string, BelowRevocations>;
}

/** What is stored with a step. */
export function changesOf(step: Step, before: Before): Change[] {
  const changes: Change[] = [...(step.changes ?? [])];
  if (step.slots !== undefined) changes.push(...slotChanges(before.slots, step.slots));
  for (const { name, rule } of step.rules?.changed ?? []) {
    changes.push({ change: 'put', kind: 'rule', name, data: ruleJson(rule) });
  }
  for (const name of step.rules?.removed ?? []) changes.push({ change: 'remove', kind: 'rule', name });
  if (step.abroad !== undefined) changes.push(...abroadChanges(before.abroad, step.abroad));
  if (step.upstream !== undefined)
    changes.push({
      change: 'put',
      kind: 'setting',
      name: UPSTREAM_SETTING,
      data: upstreamJson(step.upstream),
    });
  if (step.below !== undefined) {
    for (const [name, said] of step.below) {
      if (before.below.get(name) !== said)
        changes.push({ change: 'put', kind: 'below', name, data: belowJson(said) });
    }
    for (const name of before.below.keys())
      if (!step.below.has(name)) changes.push({ change: 'remove', kind: 'below', name });
  }
  if (step.foreign !== undefined) {
    for (const [name, bundle] of step.foreign) {
      if (before.foreign.get(name) !== bundle)
        changes.push({ change: 'put', kind: 'bundle', name, data: keptBundle(bundle) });
    }
    for (const name of before.foreign.keys()) {
      if (!step.foreign.has(name)) changes.push({ change: 'remove', kind: 'bundle', name });
    }
  }
  return changes;
}

function slotChanges(before: readonly Slot[], after: readonly Slot[]): Change[] {
  const known = new Map(before.map((slot) => [slot.id, slot]));
  const changes: Change[] = after
    .filter((slot) => known.get(slot.id) !== slot)
    .map((slot) => ({ change: 'put', kind: 'authority', name: slot.id, data: slotToJson(slot) }));
  const kept = new Set(after.map(({ id }) => id));
  for (const id of known.keys())
    if (!kept.has(id)) changes.push({ change: 'remove', kind: 'authority', name: id });
  return changes;
}

// A checked rule is plain JSON data.
const ruleJson = (rule: IdentityRule) => structuredClone(rule) as never;
