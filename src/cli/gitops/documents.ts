import { isMap, parseDocument } from 'yaml';
import { InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import type { IdentityRule } from '../../identity/index.ts';
import { type AccessPolicy, readPolicies } from '../../policy/index.ts';
import type { ProxyDocument } from '../../proxy/document/index.ts';
import { isDoubtsFile } from '../files.ts';
import { type ConfigurationFile, configurationOf, OWNERS_FILE } from './configuration.ts';
import { type LeftOut, readTree, type TreeFile } from './tree.ts';

const OURS = 'interlock.dev/';

/** A document of a directory: its file, and the lines of it that are its own. */
export interface Located<T> {
  readonly document: T;
  readonly file: string;
  readonly part: Part;
}

/** The Proxy document of a workload that an Envoy serves. */
export interface EnvoyProxy {
  readonly metadata: { readonly name: string };
  readonly workload: SpiffeId;
  /** What it says, as it is compared. */
  readonly document: ProxyDocument;
  readonly text: string;
}

/** A piece of a file between two markers of documents. */
export interface Part {
  /** From 0: where it begins in the file's text, and how many lines are before it. */
  readonly start: number;
  readonly lines: number;
  readonly text: string;
}

/** The documents of a directory, by kind. */
export interface Documents {
  readonly root: string;
  readonly files: ReadonlyMap<string, string>;
  /** By {@link policyKey}. */
  readonly policies: ReadonlyMap<string, Located<AccessPolicy>>;
  /** By name. */
  readonly rules: ReadonlyMap<string, Located<IdentityRule>>;
  /** By workload; none where they were not asked for. */
  readonly proxies: ReadonlyMap<SpiffeId, Located<EnvoyProxy>>;
  /** Documents of other kinds, which are not for a sync, and how many of each. */
  readonly others: ReadonlyMap<string, number>;
  /** Files that a control plane is started with: no documents, and no business of a sync either. */
  readonly configuration: readonly ConfigurationFile[];
  readonly leftOut: readonly LeftOut[];
}

/** One text for a policy of a workload. */
export function policyKey(workload: string, name: string): string {
  return `${workload} ${name}`;
}

/** Whether a name is that of a file of documents. */
export function isDocumentFile(name: string): boolean {
  return /\.ya?ml$/.test(name) && !isDoubtsFile(name);
}

/** Of documents that name none. */
export const NO_KIND = 'no kind';

/** Our own kinds that are no business of a sync, and what takes each. */
export const OTHER_KINDS: ReadonlyMap<string, string> = new Map([
  ['PolicyTest', 'for "interlock test"'],
  ['NodeProxy', 'for "interlock proxy --node"'],
  ['Proxy', 'for "interlock proxy"; --envoy syncs those that name a workload, for its Envoys'],
]);

export interface ReadOptions {
  /** Proxy documents that name their workload are those of Envoys: else they are files of proxies, and none of a sync's. */
  readonly withProxies?: boolean;
}

/** Reads every document below a directory. Throws `invalid_document` with file and line, `limit`, `io`. */
export async function readDirectory(dir: string, { withProxies }: ReadOptions = {}): Promise<Documents> {
  const tree = readTree(dir, isDocumentFile, (name) => OWNERS_FILE.test(name));
  const policies = new Map<string, Located<AccessPolicy>>();
  const rules = new Map<string, Located<IdentityRule>>();
  const others = new Map<string, number>();
  const parts = tree.files.flatMap((file) => partsOf(file.text).map((part) => ({ file, part })));
  // Most of the start of a command is the reader of rules.
  const isRule = (part: Part) => headOf(part).kind === 'IdentityRule';
  const readRules = parts.some(({ part }) => isRule(part))
    ? (await import('../../identity/index.ts')).readIdentityRules
    : () => [];
  const proxies = new Map<SpiffeId, Located<EnvoyProxy>>();
  const readProxy = withProxies === true ? (await import('./proxies.ts')).readEnvoyProxy : undefined;
  const configuration: ConfigurationFile[] = tree.named.map((path) => ({
    path,
    what: 'owners',
    option: '--owners',
  }));
  const count = (kind: string) => others.set(kind, (others.get(kind) ?? 0) + 1);
  for (const { file, part } of parts) {
    const kind = kindOf(file, part);
    const at = { file: file.path, part };
    if (kind === 'AccessPolicy')
      for (const document of readPart(part, (text) => readPolicies(text, file.path)))
        add(policies, policyKey(document.spec.protects.workload, document.metadata.name), {
          document,
          ...at,
        });
    else if (kind === 'IdentityRule')
      for (const document of readPart(part, (text) => readRules(text, file.path)))
        add(rules, document.metadata.name, { document, ...at });
    else if (kind === 'Proxy' && readProxy !== undefined) {
      const [document] = readPart(part, (text) => readProxy(text, file.path));
      if (document === undefined) count(kind);
      else add(proxies, document.workload, { document, ...at });
    } else {
      const known = kind === NO_KIND ? configurationOf(file.path, part.text) : undefined;
      if (known === undefined) count(kind);
      else configuration.push(known);
    }
  }
  const files = new Map(tree.files.map(({ path, text }) => [path, text]));
  return { root: tree.root, files, policies, rules, proxies, others, configuration, leftOut: tree.leftOut };
}

/**
 * Reads a part by itself. One with a mistake is read again, behind as many blank lines as are before it, so that the mistake
 * is said to be in its line of the file: read so, thousands of parts would cost thousands of times the file.
 */
function readPart<T>(part: Part, read: (text: string) => T): T {
  try {
    return read(part.text);
  } catch (error) {
    if (!isInterlockError(error) || part.lines === 0) throw error;
    return read('\n'.repeat(part.lines) + part.text);
  }
}

function add<K extends string, T extends { metadata: { name: string } }>(
  map: Map<K, Located<T>>,
  key: K,
  one: Located<T>,
) {
  const other = map.get(key);
  if (other === undefined) {
    map.set(key, one);
    return;
  }
  const { name } = one.document.metadata;
  throw new InterlockError(
    'invalid_document',
    name,
    `${one.file} and ${other.file} both hold "${name}": give one another name or remove it`,
  );
}

/**
 * The documents of a text. A line that begins with `---` ends a document wherever it stands (YAML 1.2.2, section 9.1.2),
 * so no parser is needed to find them.
 */
export function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let start = 0;
  let lines = 0;
  const marker = /^---(?=[ \t\r\n]|$).*\r?\n?|^\.\.\.(?=[ \t\r\n]|$).*\r?\n?/gm;
  const push = (end: number) => {
    const own = text.slice(start, end);
    if (/^[^\S\n]*[^\s#%]/m.test(own)) parts.push({ start, lines, text: own });
  };
  for (const match of text.matchAll(marker)) {
    push(match.index);
    // What stands behind the marker is of the next document.
    const behind = /^---[ \t]+[^\s#]/.test(match[0]) ? match.index + 3 : match.index + match[0].length;
    lines += countLines(text, start, behind);
    start = behind;
  }
  push(text.length);
  return parts;
}

function countLines(text: string, from: number, to: number): number {
  let n = 0;
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) n++;
  return n;
}

/** What a document calls itself, looked for in its lines: it need not be whole, or ours. */
export function headOf({ text }: Part): { kind: string | undefined; apiVersion: string | undefined } {
  const field = (name: string) =>
    new RegExp(`^\\ufeff?["']?${name}["']?[ \\t]*:[ \\t]+["']?([^\\s"'#]+)`, 'm').exec(text)?.[1];
  const kind = firstSign(text) === '{' ? undefined : field('kind');
  // Between braces, indented, or on a line of its own.
  return kind === undefined ? parsedHead(text) : { kind, apiVersion: field('apiVersion') };
}

/** The first character that is neither space nor comment. */
function firstSign(text: string): string | undefined {
  for (const line of text.matchAll(/^[ \t\r]*([^\s#]?)/gm)) if (line[1] !== '') return line[1];
  return undefined;
}

function parsedHead(text: string): ReturnType<typeof headOf> {
  const none = { kind: undefined, apiVersion: undefined };
  if (nestsTooDeep(text)) return none;
  try {
    const { contents } = parseDocument(text, {
      uniqueKeys: false,
      logLevel: 'silent',
      prettyErrors: false,
    });
    if (!isMap(contents)) return none;
    const field = (name: string) => {
      const value = contents.get(name);
      return typeof value === 'string' ? value : undefined;
    };
    return { kind: field('kind'), apiVersion: field('apiVersion') };
  } catch (error) {
    if (error instanceof RangeError) return none;
    throw error;
  }
}

/** No document of ours nests as deep; those in texts are counted as well, so that it costs nothing. */
const MAX_DEPTH = 64;

function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/** `NO_KIND` for what names none. Throws for a kind of ours that does not exist. */
function kindOf(file: TreeFile, part: Part): string {
  const { kind, apiVersion } = headOf(part);
  const isOurs =
    apiVersion?.startsWith(OURS) === true || (apiVersion === undefined && kind === 'AccessPolicy');
  if (!isOurs) return kind === undefined ? NO_KIND : kind === 'AccessPolicy' ? `${kind} of others` : kind;
  if (kind === 'AccessPolicy' || kind === 'IdentityRule') return kind;
  if (kind !== undefined && OTHER_KINDS.has(kind)) return kind;
  throw new InterlockError(
    'invalid_document',
    kind ?? 'document',
    `there is no kind "${kind ?? ''}" of ${apiVersion}: AccessPolicy, IdentityRule`,
    { place: { file: file.path, line: part.lines + 1 } },
  );
}

/** The workloads that the policies of a directory protect. */
export function workloadsOf(policies: Documents['policies']): Set<SpiffeId> {
  return new Set([...policies.values()].map(({ document }) => document.spec.protects.workload));
}
