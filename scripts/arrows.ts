import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

/** Which rooms a room may import. A room is a folder of src; an engine or a source is a room of its own. */
export const ARROWS: Readonly<Record<string, readonly string[]>> = {
  access: [],
  yaml: [],
  policy: ['access', 'yaml'],
  learning: ['access', 'policy'],
  rollout: ['access', 'policy'],
  api: ['access', 'policy', 'learning', 'rollout'],
  proto: [],
  identity: ['access', 'yaml'],
  system: ['access'],
  workload: ['access', 'identity', 'proto'],
  sources: ['access', 'policy', 'proto'],
  engines: ['access', 'policy', 'rollout', 'proto'],
  xds: ['access', 'proto'],
  proxy: ['access', 'policy', 'rollout', 'identity', 'workload', 'proto', 'system'],
  relay: ['access', 'rollout', 'workload', 'sources', 'engines', 'xds', 'proxy'],
  store: ['access', 'policy', 'learning', 'rollout', 'identity', 'system'],
  node: ['access', 'identity', 'workload', 'proto', 'system'],
  server: [
    'api',
    'access',
    'policy',
    'learning',
    'rollout',
    'identity',
    'workload',
    'proto',
    'sources',
    'engines',
    'xds',
    'proxy',
    'store',
    'system',
  ],
  cli: [
    'api',
    'access',
    'policy',
    'learning',
    'rollout',
    'identity',
    'workload',
    'sources',
    'engines',
    'xds',
    'proxy',
    'relay',
    'system',
    'store',
    'node',
    'server',
  ],
};

/** Rooms without I/O: they import no module of the runtime, and of packages only these. */
export const PURE: Readonly<Record<string, readonly string[]>> = {
  access: [],
  policy: ['zod', 'yaml', '@bufbuild/cel', '@bufbuild/re2'],
  yaml: ['yaml'],
  learning: [],
  rollout: ['zod'],
  api: ['zod'],
};

/** What of src a program beside it may import. The console: words and types alone, so that a browser is sent none of the rest. */
export const BESIDE: Readonly<Record<string, readonly string[]>> = {
  console: ['api/index.ts', 'api/paths.ts', 'policy/types.ts'],
};

/** Rooms whose folders are siblings that never import each other, except that the room's own files wire them. */
const FAMILIES = new Set(['sources', 'engines']);

/** Folders of a family that are no sibling: what several of them share. */
const SHARED = new Set(['sources/accesslog', 'sources/reading']);

/** One file of src with what it imports: specifiers as written. */
export interface SourceFile {
  /** Path from src, with "/" between folders. */
  readonly path: string;
  readonly imports: readonly string[];
}

/** Every import that runs against an arrow, as a sentence. */
export function wrongArrows(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => file.imports.flatMap((specifier) => wrong(file.path, specifier) ?? []));
}

function wrong(path: string, specifier: string): string | undefined {
  const [room = ''] = path.split('/');
  const isTest = /\.(test|test-helper)\.ts$/.test(path) || /(^|[/-])(contract|testing)\.ts$/.test(path);
  if (!specifier.startsWith('.')) return wrongPackage(path, room, specifier, isTest);
  const target = relative('.', join(dirname(path), specifier))
    .split(sep)
    .join('/');
  if (target.startsWith('..'))
    return isTest ? undefined : `src/${path} imports ${specifier}, which is outside src`;
  const [targetRoom = ''] = target.split('/');
  if (isTest) return undefined;
  if (targetRoom === room) return wrongSibling(path, target, room);
  if (ARROWS[room] === undefined)
    return `src/${path} is in no room: src/${room} is not in the table of arrows`;
  if (!ARROWS[room].includes(targetRoom))
    return `src/${path} imports src/${target}: ${room} may not import ${targetRoom}`;
  if (!target.endsWith('/index.ts') && !(FAMILIES.has(targetRoom) && target.split('/').length === 2)) {
    return `src/${path} imports src/${target}: another room is imported through its index.ts`;
  }
  return undefined;
}

function wrongPackage(path: string, room: string, specifier: string, isTest: boolean): string | undefined {
  const pure = PURE[room];
  if (pure === undefined || isTest) return undefined;
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  if (pure.includes(name)) return undefined;
  return `src/${path} imports ${specifier}: ${room} is pure and may import only ${pure.join(', ') || 'nothing'}`;
}

function wrongSibling(path: string, target: string, room: string): string | undefined {
  if (!FAMILIES.has(room)) return undefined;
  const from = path.split('/');
  const to = target.split('/');
  if (from.length < 3 || to.length < 3 || from[1] === to[1]) return undefined;
  if (SHARED.has(`${room}/${to[1]}`)) return undefined;
  return `src/${path} imports src/${target}: siblings in ${room} never import each other`;
}

/** Every import of src by the files of a folder beside it that is not in the table, as a sentence. */
export function wrongBeside(folder: string, files: readonly SourceFile[]): string[] {
  const allowed = BESIDE[folder] ?? [];
  return files.flatMap(({ path, imports }) =>
    imports.flatMap((specifier) => {
      const target = join(folder, dirname(path), specifier).split(sep).join('/');
      if (!specifier.startsWith('.') || !target.startsWith('src/')) return [];
      if (allowed.includes(target.slice('src/'.length))) return [];
      return [`${folder}/${path} imports ${target}: ${folder} takes of src only ${allowed.join(', ')}`];
    }),
  );
}

/** Every TypeScript file of a folder with its imports; `node_modules` and what was built are left out. */
export function sourceFiles(src: string): SourceFile[] {
  return readdirSync(src, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .filter(({ parentPath }) => !/(^|\/)(node_modules|dist)(\/|$)/.test(relative(src, parentPath)))
    .map((entry) => {
      const file = resolve(entry.parentPath, entry.name);
      return {
        path: relative(src, file).split(sep).join('/'),
        imports: importsOf(readFileSync(file, 'utf8')),
      };
    });
}

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'";]*?from\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;

/** The module specifiers that a file imports or re-exports, statically or dynamically. */
export function importsOf(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}
