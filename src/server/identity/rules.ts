import { InterlockError } from '../../access/index.ts';
import { areaFault, type CompiledRule, compileRule, type IdentityRule } from '../../identity/index.ts';
import type { Actor, Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';

/** Rules of one trust domain. */
const MAX_RULES = 100_000;

/** What applying rules has changed, by name. */
export interface Applied {
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: readonly string[];
  /** Where some were to be taken away. */
  readonly removed?: readonly string[];
  /** Sentences on those of them that give nothing, or less than they say, at an authority limited to prefixes. */
  readonly warnings: readonly string[];
}

/** What a sync does beside applying rules: rules that it takes away, and where it is from. */
export interface RulesOrder {
  readonly remove: readonly string[];
  readonly source?: { readonly name: string; readonly commit?: string | undefined } | undefined;
}

/** Adds rules, or replaces those of the same names; all of them or none. Throws `invalid_document`, `not_found`. */
export async function applyRules(
  who: Actor,
  rules: readonly IdentityRule[],
  registry: Registry,
  recorder: Recorder,
  /** Called when it is this change's turn: what it throws leaves everything as it is. */
  check: () => void = () => {},
  { remove, source }: RulesOrder = { remove: [] },
): Promise<Applied> {
  const compiled = rules.map((rule) => compileRule(rule, registry.domain.trustDomain));
  const { prefixes } = registry.domain;
  const warnings = prefixes === undefined ? [] : compiled.flatMap((rule) => areaFault(rule, prefixes) ?? []);
  let applied: Applied = { created: [], changed: [], unchanged: [], warnings };
  await registry.step(async () => {
    check();
    const known = registry.rules.current.value;
    const isSame = ({ name, rule }: CompiledRule) =>
      JSON.stringify(known.get(name)?.rule) === JSON.stringify(rule);
    const changed = compiled.filter((rule) => !isSame(rule));
    applied = {
      created: changed.flatMap(({ name }) => (known.get(name) === undefined ? [name] : [])),
      changed: changed.flatMap(({ name }) => (known.get(name) === undefined ? [] : [name])),
      unchanged: compiled.filter(isSame).map(({ name }) => name),
      ...(remove.length === 0 ? {} : { removed: remove }),
      warnings,
    };
    const gone = remove.find(
      (name) => known.get(name) === undefined || compiled.some((rule) => rule.name === name),
    );
    if (gone !== undefined)
      throw new InterlockError('not_found', gone, `there is no rule "${gone}" that is only to be taken away`);
    if (changed.length === 0 && remove.length === 0) return undefined;
    if (known.rules.length + applied.created.length > MAX_RULES)
      throw new InterlockError('limit', 'identity rules', `a trust domain has at most ${MAX_RULES} rules`);
    const { created } = applied;
    return {
      step: { rules: { changed, removed: remove } },
      entry: recorder.entry(who, 'rules.apply', summary([...changed.map(({ name }) => name), ...remove]), {
        created: [...created].slice(0, 100),
        changed: applied.changed.slice(0, 100),
        ...(remove.length === 0 ? {} : { removed: remove.slice(0, 100) }),
        ...(source === undefined
          ? {}
          : { source: source.name, ...(source.commit === undefined ? {} : { commit: source.commit }) }),
      }),
    };
  });
  return applied;
}

/** Takes a rule away. Throws `not_found`. */
export async function removeRule(
  who: Actor,
  name: string,
  registry: Registry,
  recorder: Recorder,
  check: () => void = () => {},
): Promise<void> {
  await registry.step(async () => {
    check();
    if (registry.rules.current.value.get(name) === undefined)
      throw new InterlockError('not_found', name, `there is no rule "${name}"`);
    return {
      step: { rules: { changed: [], removed: [name] } },
      entry: recorder.entry(who, 'rule.remove', name),
    };
  });
}

function summary(names: readonly string[]): string {
  return names.length === 1 ? (names[0] ?? '') : `${names.length} rules`;
}
