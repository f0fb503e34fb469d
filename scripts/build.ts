// `npm run build`: src as JavaScript and types in dist, and the agent's command with all that it needs in one file. An
// agent that starts again must serve at once, and most of its start would be spent on finding 700 modules.
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = resolve(process.argv[2] ?? join(root, 'dist'));

/** Commands that are bundled. */
const BUNDLED = ['agent'];
/**
 * Modules that a bundle shares with the rest of the program: there is one class of errors, one parser of the command
 * line, one terminal. Paths in dist.
 */
const SHARED = ['access/error.js', 'cli/command.js', 'cli/exit.js', 'cli/terminal.js', 'cli/version.js'].map(
  (path) => join(dist, path),
);

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
    external: (id) => id.startsWith('node:') || SHARED.includes(id),
  });
  await bundle.write({ file, format: 'esm', codeSplitting: false });
  await bundle.close();
}
