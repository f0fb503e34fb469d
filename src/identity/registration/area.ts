import { arePrefixesInside } from '../prefixes.ts';
import type { CompiledRule } from './compile.ts';
import type { Piece } from './template.ts';

/**
 * What a person should know about a rule at an authority that is limited to prefixes: that it gives nothing, or less
 * than it says. Undefined for a rule whose IDs are all inside.
 */
export function areaFault(rule: CompiledRule, prefixes: readonly string[]): string | undefined {
  const { name, path, downstream } = rule;
  const area = prefixes.join(', ') || 'nothing';
  if (downstream !== undefined) {
    const given = downstream.unlimited === true ? undefined : (downstream.prefixes ?? []);
    if (arePrefixesInside(given, prefixes)) return undefined;
    const what = given?.join(', ') ?? 'every path';
    return `rule "${name}" makes no child authority: ${what} is not inside ${area}, to which this authority is limited`;
  }
  const fits = new Set(prefixes.map((prefix) => fitOf(path, prefix.split('/').slice(1, -1))));
  if (fits.has('always')) return undefined;
  const whole = `/${path.map(textOf).join('/')}`;
  return fits.has('sometimes')
    ? `rule "${name}" gives only those of ${whole} that are inside ${area}, to which this authority is limited`
    : `rule "${name}" gives nothing: ${whole} is outside ${area}, to which this authority is limited`;
}

/** Whether the paths of a template begin with the segments of a prefix, and go on. */
function fitOf(path: readonly Piece[], segments: readonly string[]): 'always' | 'sometimes' | 'never' {
  if (path.length <= segments.length) return 'never';
  let fit: 'always' | 'sometimes' = 'always';
  for (const [i, segment] of segments.entries()) {
    const { before = '', variable, after = '' } = path[i] ?? {};
    if (variable === undefined) {
      if (before !== segment) return 'never';
      continue;
    }
    fit = 'sometimes';
    const isPossible =
      segment.startsWith(before) && segment.endsWith(after) && segment.length > before.length + after.length;
    if (!isPossible) return 'never';
  }
  return fit;
}

function textOf({ before, variable, after }: Piece): string {
  return variable === undefined ? before : `${before}{${variable.text}}${after}`;
}
