import { type PathTemplate, type Target } from '../../policy/index.ts';
import { allOf, anyOf, type Permission } from './rbac.ts';

/** What a target is about, for an HTTP filter: a `tcp` target admits every request on its ports. */
export function requestPermission(target: Target): Permission {
  const parts = portPermissions(target);
  if (target.kind === 'tcp') return allOf(parts);
  const { methods, paths } = target;
  if (methods !== undefined) parts.push(anyOf(methods.map(methodPermission)));
  if (paths !== undefined) parts.push(anyOf(paths.map(pathPermission)));
  return allOf(parts);
}

/** What a target is about, for a network filter, which sees no requests. */
export function connectionPermission(target: Target): Permission {
  return allOf(portPermissions(target));
}

function portPermissions({ ports }: Target): Permission[] {
  return ports === undefined ? [] : [anyOf(ports.map((port) => ({ destination_port: port })))];
}

function methodPermission(method: string): Permission {
  return { header: { name: ':method', string_match: { exact: method } } };
}

/**
 * `url_path` is the path without query and fragment. Templates are regular expressions: Envoy's own
 * uri_template matches no segment with "[" or "]" (in older versions "*" and "=" as well), and takes neither a
 * name above 16 characters nor a sixth one (test/interop has the comparison).
 */
function pathPermission(template: PathTemplate): Permission {
  const { segments, rest } = template;
  const literal = segments.every((segment) => segment !== undefined);
  if (!literal) return { url_path: { path: { safe_regex: { regex: regexOf(template) } } } };
  const text = segments.map((segment) => `/${segment}`).join('');
  return { url_path: { path: rest ? { prefix: `${text}/` } : { exact: text } } };
}

/** RE2 for the whole path. A normal path has no line feed, which "." would not match. */
function regexOf({ segments, rest }: PathTemplate): string {
  const text = segments.map((segment) => `/${segment === undefined ? '[^/]+' : quoted(segment)}`).join('');
  return rest ? `${text}/.*` : text;
}

function quoted(literal: string): string {
  return literal.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');
}
