// Writes package-lock.json anew, and completes it. A registry may not carry the packages that others than this
// platform need (optional dependencies with an os and a cpu); npm leaves them out then, and `npm ci` refuses the
// file everywhere. Their versions are exact in the packages that name them, and their names say what they are for.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('../package-lock.json', import.meta.url));
const OS = /(?:^|[-/])(android|darwin|freebsd|linux|openbsd|netbsd|openharmony|sunos|win32|aix)(?=-|$)/;
const CPU = /-(arm64|aarch64|x64|armv7|arm|ppc64|riscv64|s390x|ia32|loong64|mips64el)(?=-|$)/;
/** Names that packages use, where npm's field has another. */
const NPM_CPU = { aarch64: 'arm64', armv7: 'arm' };
const EXACT = /^\d+\.\d+\.\d+(-[\w.]+)?$/;

const npm = spawnSync(
  'npm',
  ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
  { stdio: 'inherit', cwd: fileURLToPath(new URL('..', import.meta.url)) },
);
if (npm.status !== 0) process.exit(npm.status ?? 1);

const lock = JSON.parse(readFileSync(file, 'utf8'));
let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(path === '' ? {} : (entry.optionalDependencies ?? {}))) {
    const os = OS.exec(name)?.[1];
    const cpu = CPU.exec(name)?.[1];
    const place = `node_modules/${name}`;
    if (lock.packages[place] !== undefined || os === undefined || cpu === undefined || !EXACT.test(version))
      continue;
    const libc = os === 'linux' ? { libc: [name.includes('musl') ? 'musl' : 'glibc'] } : {};
    lock.packages[place] = {
      version,
      cpu: [NPM_CPU[cpu] ?? cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...libc,
      optional: true,
      os: [os],
    };
    added++;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(
  `package-lock.json: ${Object.keys(lock.packages).length} packages, ${added} of them of other platforms.`,
);
