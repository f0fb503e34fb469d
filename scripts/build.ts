// `npm run build`: src as JavaScript and types in dist, and the agent's command with all that it needs in one file. An
// agent that starts again must serve at once, and most of its start would be spent on finding 700 modules.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = resolve(process.argv[2] ?? join(root, 'dist'));

/** Licences of what is bundled, by package. */
const licences = new Map<string, string>();
/** Commands that are bundled. */
const BUNDLED = ['agent'];
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
    external: (id) => id.startsWith('node:') || SHARED.has(id),
  });
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false });
  // The bundler names what it imports for the whole path, which would differ from machine to machine.
  writeFileSync(file, output[0].code.replaceAll(/\bimport_\w*_access_error_js\b/g, 'import_access_error'));
  await bundle.close();
  for (const part of output) if (part.type === 'chunk') part.moduleIds.forEach(notePackage);
}
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES.txt'), [...licences.values()].join('\n\n'));

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
