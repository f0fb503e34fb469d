import type { AccessPolicy, Rule } from '../../policy/index.ts';
import { toText } from '../commands/review/shown.ts';
import { fromText } from '../grants.ts';
import { contentText } from './content.ts';

/** One line of a difference: what a sync would add there, take away, or change. */
export interface DiffLine {
  readonly sign: '+' | '-' | '~';
  readonly text: string;
}

const line = (sign: DiffLine['sign'], text: string): DiffLine => ({ sign, text });

/** How two documents of one policy differ, rule by rule; either may be missing. */
export function policyDiff(there: AccessPolicy | undefined, here: AccessPolicy | undefined): DiffLine[] {
  const lists = (['rules', 'deny'] as const).flatMap((list) =>
    rulesDiff(list === 'deny' ? 'deny rule' : 'rule', there?.spec[list] ?? [], here?.spec[list] ?? []),
  );
  if (there === undefined || here === undefined) return lists;
  const rest = ({ spec, metadata }: AccessPolicy) => {
    const { rules: _rules, deny: _deny, protects: _protects, ...fields } = spec;
    return { ...metadata, ...fields };
  };
  return [...fieldsDiff('', rest(there), rest(here)), ...lists];
}

/** How the fields of two plain documents differ. */
export function fieldsDiff(prefix: string, there: object, here: object): DiffLine[] {
  const [a, b] = [new Map(Object.entries(there)), new Map(Object.entries(here))];
  return [...new Set([...a.keys(), ...b.keys()])].flatMap((key) => {
    if (contentText(a.get(key)) === contentText(b.get(key))) return [];
    return line('~', `${prefix}${key}: ${shown(a.get(key))} -> ${shown(b.get(key))}`);
  });
}

function rulesDiff(word: string, there: readonly Rule[], here: readonly Rule[]): DiffLine[] {
  const [a, b] = [
    new Map(there.map((rule) => [rule.name, rule])),
    new Map(here.map((rule) => [rule.name, rule])),
  ];
  const gone = there.filter(({ name }) => !b.has(name));
  const made = here.filter(({ name }) => !a.has(name));
  const lines = [
    ...gone.map((rule) => line('-', `${word} ${rule.name}: ${ruleText(rule)}`)),
    ...made.map((rule) => line('+', `${word} ${rule.name}: ${ruleText(rule)}`)),
    ...here.flatMap((rule) => {
      const before = a.get(rule.name);
      return before === undefined ? [] : ruleDiff(`${word} ${rule.name}: `, before, rule);
    }),
  ];
  const order = (rules: readonly Rule[], other: ReadonlyMap<string, Rule>) =>
    rules.flatMap(({ name }) => (other.has(name) ? [name] : [])).join(' ');
  if (order(there, b) !== order(here, a)) lines.push(line('~', `${word}s stand in another order`));
  return lines;
}

function ruleDiff(prefix: string, there: Rule, here: Rule): DiffLine[] {
  const { from: fromThere, to: toThere, ...restThere } = there;
  const { from: fromHere, to: toHere, ...restHere } = here;
  return [
    ...setDiff(`${prefix}from `, fromThere.map(fromText), fromHere.map(fromText)),
    ...setDiff(`${prefix}may `, toThere.map(oneTo), toHere.map(oneTo)),
    ...fieldsDiff(prefix, restThere, restHere),
  ];
}

function setDiff(prefix: string, there: readonly string[], here: readonly string[]): DiffLine[] {
  return [
    ...there.filter((text) => !here.includes(text)).map((text) => line('-', `${prefix}${text}`)),
    ...here.filter((text) => !there.includes(text)).map((text) => line('+', `${prefix}${text}`)),
  ];
}

const oneTo = (to: Rule['to'][number]) => toText({ to: [to] });

function ruleText({ name: _name, evidence: _evidence, from, to, ...rest }: Rule): string {
  // Its condition, and how long it holds.
  const more = Object.entries(rest).map(([key, value]) => (value === '' ? '' : ` ${key} ${shown(value)}`));
  return `${from.map(fromText).join(', ')} may ${toText({ to })}${more.join('')}`;
}

function shown(value: unknown): string {
  if (value === undefined) return '(nothing)';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
