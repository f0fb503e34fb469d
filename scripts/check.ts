// Everything that is checked and is not a test: format, lint, types, arrows, unused code, generated files.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BESIDE, sourceFiles, wrongArrows, wrongBeside } from './arrows.ts';
import { staleFiles } from './generated.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function command(name: string, ...args: string[]): () => string[] {
  return () => {
    const done = spawnSync(name, args, { cwd: root, encoding: 'utf8' });
    if (done.error !== undefined) return [`${name} could not be started: ${done.error.message}`];
    return done.status === 0 ? [] : [`${done.stdout}${done.stderr}`.trim()];
  };
}

const CHECKS: Readonly<Record<string, () => string[] | Promise<string[]>>> = {
  format: command('biome', 'format', '.'),
  lint: command('oxlint', '--deny-warnings'),
  types: command('tsc', '-p', '.'),
  'types of the console': command('tsc', '-p', 'console'),
  arrows: () => [
    ...wrongArrows(sourceFiles(`${root}src`)),
    ...Object.keys(BESIDE).flatMap((folder) => wrongBeside(folder, sourceFiles(root + folder))),
  ],
  unused: command('knip'),
  generated: staleFiles,
};

let failed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  const findings = await check();
  console.log(`${findings.length === 0 ? 'ok    ' : 'FAILED'} ${name}`);
  if (findings.length > 0) console.log(findings.join('\n'));
  failed += findings.length;
}
process.exit(failed === 0 ? 0 : 1);
