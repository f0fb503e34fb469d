/** A segment `{name}` or `{name=**}` of a template. */
const PARAMETER = /^\{[A-Za-z0-9_.-]{1,64}(=\*\*)?\}$/;

/** Most segments of a path that are told apart; what follows becomes one `{rest=**}`. */
export const MAX_SEGMENTS = 64;

/** True for `{name}`, and for nothing else. */
export function isParameter(segment: string): boolean {
  const match = PARAMETER.exec(segment);
  return match !== null && match[1] === undefined;
}

/** True for `{name=**}`, and for nothing else. */
export function isRest(segment: string): boolean {
  return PARAMETER.exec(segment)?.[1] !== undefined;
}

/** The segments of a path that starts with "/": `/a/b/` gives `a`, `b` and an empty one. */
export function segmentsOf(path: string): string[] {
  return path.slice(1).split('/');
}

/** The template with its parameters' names taken out: equal texts match the same paths. */
export function nameless(template: string): string {
  return template.includes('{')
    ? `/${segmentsOf(template)
        .map((s) => (isParameter(s) ? '{}' : isRest(s) ? '{**}' : s))
        .join('/')}`
    : template;
}

/** The template with a number after every parameter name that it uses again: a policy wants them unique. */
export function withUniqueNames(template: string): string {
  if (!template.includes('{')) return template;
  const used = new Set<string>();
  const segments = segmentsOf(template).map((segment) => {
    const rest = isRest(segment);
    if (!rest && !isParameter(segment)) return segment;
    const name = segment.slice(1, rest ? -4 : -1);
    let unique = name;
    for (let i = 2; used.has(unique); i++) unique = `${name}${i}`;
    used.add(unique);
    return `{${unique}${rest ? '=**' : ''}}`;
  });
  return `/${segments.join('/')}`;
}

interface Branch {
  literals?: Map<string, Branch>;
  parameter?: Branch;
  /** Template that ends here, and template whose `{rest=**}` starts here. */
  end?: string;
  rest?: string;
}

/**
 * Finds the most specific of a set of templates that matches a path: at each segment a literal before `{name}`
 * before `{name=**}`. A lookup visits no branch twice, so its cost is bounded by the size of the set.
 */
export class TemplateMatcher {
  readonly #root: Branch = {};
  #size = 0;

  constructor(templates: Iterable<string> = []) {
    for (const template of templates) this.add(template);
  }

  get size(): number {
    return this.#size;
  }

  /** Adds a template; of two that match the same paths the one that sorts first is kept. */
  add(template: string): void {
    let branch = this.#root;
    for (const segment of segmentsOf(template)) {
      if (isRest(segment)) {
        if (branch.rest === undefined) this.#size++;
        if (branch.rest === undefined || template < branch.rest) branch.rest = template;
        return;
      }
      if (isParameter(segment)) branch = branch.parameter ??= {};
      else {
        branch.literals ??= new Map();
        let next = branch.literals.get(segment);
        if (next === undefined) branch.literals.set(segment, (next = {}));
        branch = next;
      }
    }
    if (branch.end === undefined) this.#size++;
    if (branch.end === undefined || template < branch.end) branch.end = template;
  }

  /** The most specific template that matches `path`, which may itself be a template (its parameters are opaque). */
  match(path: string): string | undefined {
    if (!path.startsWith('/')) return undefined;
    return find(this.#root, segmentsOf(path), 0);
  }
}

function find(branch: Branch, segments: readonly string[], at: number): string | undefined {
  const segment = segments[at];
  if (segment === undefined) return branch.end;
  const literal = branch.literals?.get(segment);
  if (literal !== undefined) {
    const found = find(literal, segments, at + 1);
    if (found !== undefined) return found;
  }
  if (branch.parameter !== undefined && segment !== '' && !isRest(segment)) {
    const found = find(branch.parameter, segments, at + 1);
    if (found !== undefined) return found;
  }
  return branch.rest;
}
