import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ROOT } from './place.ts';

const DIST = join(ROOT, 'console/dist');
const BUILD = join(ROOT, 'scripts/build-console.ts');
const MARKER = join(ROOT, 'node_modules/.interlock-console');
/** Two that start at once do not build at once. Whoever held it so long is gone. */
const LOCK = `${MARKER}.lock`;
const LONGEST_MS = 120_000;
const LOOK_MS = 100;
/** Of what a build says that fails, so many lines are shown. */
const MOST_LINES = 8;
/** What the build is made from. */
const SOURCES = ['console/src', 'console/public', 'console/index.html', 'console/vite.config.ts', 'src/api'];

/**
 * Builds the console where what stands there was built from other sources. Gives the milliseconds that it took, 0 where
 * nothing was to do. Throws what the build said where it failed: everything else works without a console.
 */
export async function buildConsole(signal: AbortSignal, onBuild: () => void): Promise<number> {
  const now = hashOfSources();
  const isBuilt = () => existsSync(join(DIST, 'index.html')) && markOf() === now;
  if (isBuilt()) return 0;
  onBuild();
  const started = performance.now();
  await locked(signal);
  try {
    if (!isBuilt()) await build(signal);
    writeFileSync(MARKER, now);
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
  return performance.now() - started;
}

async function build(signal: AbortSignal): Promise<void> {
  const child = spawn(process.execPath, [BUILD], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NO_WARNINGS: '1', NO_COLOR: '1', FORCE_COLOR: '0' },
    signal,
    killSignal: 'SIGKILL',
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said += String(bytes)));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(said.trim().split('\n').slice(0, MOST_LINES).join('\n'));
}

/** Waits until nobody else builds. Throws what the file system says where this user may not. */
async function locked(signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      return mkdirSync(LOCK);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const since = statSync(LOCK, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - since > LONGEST_MS) rmSync(LOCK, { recursive: true, force: true });
    await pause(LOOK_MS, undefined, { signal });
  }
}

function markOf(): string | undefined {
  try {
    return readFileSync(MARKER, 'utf8');
  } catch {
    return undefined;
  }
}

function hashOfSources(): string {
  const hash = createHash('sha256').update(readFileSync(join(ROOT, 'package-lock.json')));
  for (const source of SOURCES) {
    const place = join(ROOT, source);
    if (!existsSync(place)) continue;
    const files = statSync(place).isFile()
      ? [place]
      : readdirSync(place, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name))
          .toSorted();
    for (const file of files) hash.update(file.slice(ROOT.length)).update('\0').update(readFileSync(file));
  }
  return hash.digest('hex');
}
