import type { AgentAttributes, WorkloadAttributes } from './types.ts';

/** What a variable of a template can stand for: an attribute with one value, or an entry of a map. */
const SCALARS: Readonly<Record<string, readonly string[]>> = {
  unix: ['uid', 'gid', 'user', 'group', 'sha256'],
  k8s: ['namespace', 'service_account', 'pod_name', 'pod_uid', 'node_name', 'container_name'],
  systemd: ['unit'],
  docker: ['container_id'],
  agent: ['attestor'],
};
const MAPS: Readonly<Record<string, readonly string[]>> = { k8s: ['labels'], docker: ['labels', 'env'] };

/** What templates take their values from. */
export interface TemplateValues {
  readonly workload: WorkloadAttributes;
  readonly agent: AgentAttributes;
}

/** A name such as `k8s.labels['app']`, taken apart. */
export interface Variable {
  readonly text: string;
  readonly names: readonly string[];
}

/** One segment of a path, or one label of a DNS name: it has at most one variable, so that no two sets of values join to the same text. */
export interface Piece {
  readonly before: string;
  readonly variable: Variable | undefined;
  readonly after: string;
}

export type ParsedPieces =
  | { readonly ok: true; readonly pieces: readonly Piece[] }
  | { readonly ok: false; readonly reason: string };

/** Splits a template at `separator`, reading `{...}` as variables. */
export function parsePieces(text: string, separator: '/' | '.'): ParsedPieces {
  const pieces: Piece[] = [];
  let piece = { before: '', variable: undefined as Variable | undefined, after: '' };
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === separator) {
      pieces.push(piece);
      piece = { before: '', variable: undefined, after: '' };
    } else if (c === '{') {
      const end = endOfVariable(text, i);
      if (end < 0) return { ok: false, reason: 'a "{" has no "}"' };
      const variable = parseVariable(text.slice(i + 1, end));
      if (typeof variable === 'string') return { ok: false, reason: variable };
      if (piece.variable !== undefined)
        return {
          ok: false,
          reason: `two variables stand between two "${separator}": their values could join to one text in two ways`,
        };
      piece.variable = variable;
      i = end;
    } else if (c === '}') return { ok: false, reason: 'a "}" has no "{"' };
    else if (piece.variable === undefined) piece.before += c;
    else piece.after += c;
  }
  pieces.push(piece);
  return { ok: true, pieces };
}

/** The "}" that ends a variable; one inside quotes does not. */
function endOfVariable(text: string, start: number): number {
  let quoted = false;
  for (let i = start + 1; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === "'") quoted = !quoted;
    else if (c === '}' && !quoted) return i;
    else if (c === '{' && !quoted) return -1;
  }
  return -1;
}

const STEP = /^(?:\.([A-Za-z_][A-Za-z0-9_]*)|\['([^'\\]{1,317})'\])/;

/** The variable, or why it is none. */
function parseVariable(text: string): Variable | string {
  const names: string[] = [];
  let rest = `.${text}`;
  while (rest !== '') {
    const match = STEP.exec(rest);
    if (match === null) return `"{${text}}" is not a variable: write {k8s.namespace} or {k8s.labels['app']}`;
    names.push(match[1] ?? match[2] ?? '');
    rest = rest.slice(match[0].length);
  }
  const fault = variableFault(names);
  return fault === undefined ? { text, names } : `{${text}}: ${fault}`;
}

function variableFault(names: readonly string[]): string | undefined {
  const [root = '', field = '', ...keys] = names;
  if (root === 'claims') return field === '' ? 'name a claim, as in {claims.sub}' : undefined;
  const scalars = Object.hasOwn(SCALARS, root) ? SCALARS[root] : undefined;
  if (scalars === undefined)
    return `"${root}" is not known: use ${[...Object.keys(SCALARS), 'claims'].join(', ')}`;
  const maps = Object.hasOwn(MAPS, root) ? (MAPS[root] ?? []) : [];
  if (maps.includes(field))
    return keys.length === 1 ? undefined : `name one entry, as in {${root}.${field}.team}`;
  if (scalars.includes(field) && keys.length === 0) return undefined;
  return `it has no single value: use ${[...scalars, ...maps.map((map) => `${map}.KEY`)].map((name) => `${root}.${name}`).join(', ')}`;
}

/** The value of a variable as text: undefined where it is missing, or no text and no whole number. */
export function valueOf({ names }: Variable, { workload, agent }: TemplateValues): string | undefined {
  let value: unknown = { ...workload, agent: agent.agent, claims: agent.claims };
  for (const name of names) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
      return undefined;
    // Object.hasOwn has shown that it is the object's own property.
    value = (value as Record<string, unknown>)[name];
  }
  if (typeof value === 'string') return value;
  return Number.isSafeInteger(value) ? String(value) : undefined;
}

/** Whether the variable is about the workload, not about its agent. */
export function isOfWorkload({ names }: Variable): boolean {
  return names[0] !== 'agent' && names[0] !== 'claims';
}

export type Filled =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly variable: string; readonly reason: string };

/** A segment: what SPIFFE-ID.md section 2.2 allows. A DNS label: RFC 1123 section 2.1, in lower case. */
const ALLOWED = { '/': /^[A-Za-z0-9._-]+$/, '.': /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/ };
const WORDS = { '/': 'path segment', '.': 'DNS label' };

/** The template with its values. A value that would be empty, "." or "..", or would spill over, is refused. */
export function fill(pieces: readonly Piece[], separator: '/' | '.', values: TemplateValues): Filled {
  const texts: string[] = [];
  for (const { before, variable, after } of pieces) {
    if (variable === undefined) {
      texts.push(before);
      continue;
    }
    const value = valueOf(variable, values);
    const no = (reason: string): Filled => ({ ok: false, variable: variable.text, reason });
    if (value === undefined) return no(`${variable.text} is not known`);
    const text = before + value + after;
    if (value === '') return no(`${variable.text} is empty`);
    if (text === '.' || text === '..' || !ALLOWED[separator].test(text))
      return no(`${variable.text} is "${clip(value)}", which is no ${WORDS[separator]}`);
    texts.push(text);
  }
  return { ok: true, text: texts.join(separator) };
}

/** Why a literal piece is not allowed, or undefined. Of a piece with a variable, whether any value can make it right. */
export function pieceFault({ before, variable, after }: Piece, separator: '/' | '.'): string | undefined {
  if (variable === undefined) {
    if (before === '') return `it has an empty ${WORDS[separator]}`;
    if (before === '.' || before === '..') return 'it has a "." or ".." segment';
    return ALLOWED[separator].test(before) ? undefined : `"${clip(before)}" is no ${WORDS[separator]}`;
  }
  return ALLOWED[separator].test(`${before}a${after}`)
    ? undefined
    : `"${clip(`${before}{${variable.text}}${after}`)}" never makes a ${WORDS[separator]}`;
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
