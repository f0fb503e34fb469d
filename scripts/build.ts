// `npm run build`: src as JavaScript and types in dist, and the commands that keep running each with all that it needs in
// one file. An agent that starts again must serve at once, and most of its start would be spent on finding 700 modules; the
// 1,250 of a control plane would be 20 MB of memory.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Plugin, rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = resolve(process.argv[2] ?? join(root, 'dist'));

/** Licences of what is bundled, by package. */
const licences = new Map<string, string>();
/** Commands that are bundled. */
const BUNDLED = ['agent', 'up'];
/**
 * Modules that a bundle shares with the rest of the program: there is one class of errors, one parser of the command
 * line, one terminal. Paths in dist.
 */
const SHARED = new Set(
  ['access/error.js', 'cli/command.js', 'cli/exit.js', 'cli/terminal.js', 'cli/version.js'].map((path) =>
    join(dist, path),
  ),
);

// What an earlier build left is not to be published.
rmSync(dist, { recursive: true, force: true });
const compiled = spawnSync('tsc', ['-p', 'tsconfig.build.json', '--outDir', dist], {
  cwd: root,
  stdio: 'inherit',
});
if (compiled.status !== 0) {
  console.error('tsc has found errors, or could not be started');
  process.exit(1);
}
for (const name of BUNDLED) {
  const file = join(dist, 'cli', 'commands', `${name}.js`);
  const bundle = await rolldown({
    input: file,
    platform: 'node',
    cwd: root,
    // What is beside dist is not looked for by the bundler: the packages stand in the project's node_modules.
    resolve: { modules: [join(root, 'node_modules')] },
    // The last is what pg looks for and does without.
    external: (id) => id.startsWith('node:') || SHARED.has(id) || id === 'pg-native',
    plugins: [besideItself(dirname(file))],
  });
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false, comments: false });
  // The bundler names what it imports for the whole path, which would differ from machine to machine.
  const code = output[0].code.replaceAll(/\bimport_\w*_access_error_js\b/g, 'import_access_error');
  writeFileSync(file, inAscii(code));
  await bundle.close();
  for (const part of output) if (part.type === 'chunk') part.moduleIds.forEach(notePackage);
}
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES.txt'), [...licences.values()].join('\n\n'));

/** The same program in ASCII alone: with a single other character, all of it would be kept with two bytes for each. */
function inAscii(code: string): string {
  return code.replaceAll(
    /[^\0-\x7f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A module finds files beside itself, such as that of a thread, also from within a bundle in another directory. */
function besideItself(folder: string): Plugin {
  return {
    name: 'beside-itself',
    transform(code, module) {
      if (!module.startsWith(dist) || !code.includes('import.meta.url')) return undefined;
      const path = relative(folder, module).split(sep).join('/');
      return code.replaceAll('import.meta.url', `new URL(${JSON.stringify(path)}, import.meta.url).href`);
    },
  };
}

/** Keeps the licence of the package that a bundled module is from: it has to travel with the code. */
function notePackage(module: string): void {
  const inside = /^.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(module);
  const [folder, name] = inside ?? [];
  if (folder === undefined || name === undefined || licences.has(name)) return;
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    version: string;
    license: string;
  };
  const text = file === undefined ? '' : readFileSync(join(folder, file), 'utf8');
  licences.set(name, `${name} ${version} (${license})\n\n${text}`);
}
