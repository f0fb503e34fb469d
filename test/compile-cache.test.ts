import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { privateCache } from '../bin/compile-cache.mjs';

const BIN = fileURLToPath(new URL('../bin', import.meta.url));
const UID = process.geteuid?.() ?? 0;
let root: string;
let folder: string;
let shared: string;
let cache: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'interlock-cache-'));
  folder = join(root, 'node_modules');
  shared = join(folder, '.cache');
  cache = join(shared, 'interlock');
  mkdirSync(folder, { mode: 0o755 });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('what Node compiles is kept', () => {
  test('in a directory for this user alone, and where that was made before', () => {
    expect(privateCache(folder, UID)).toBe(cache);
    expect(statSync(cache).mode & 0o777).toBe(0o700);
    expect(privateCache(folder, UID)).toBe(cache);
  });

  test.each([
    ['there is no node_modules', () => rmSync(folder, { recursive: true })],
    ['anybody may write to node_modules', () => chmodSync(folder, 0o777)],
    [
      'a group may write to what tools share',
      () => {
        mkdirSync(shared);
        chmodSync(shared, 0o775);
      },
    ],
    [
      'others may look in',
      () => {
        mkdirSync(cache, { recursive: true });
        chmodSync(cache, 0o755);
      },
    ],
    [
      'a link leads elsewhere',
      () => {
        mkdirSync(shared);
        mkdirSync(join(root, 'elsewhere'), { mode: 0o700 });
        symlinkSync(join(root, 'elsewhere'), cache);
      },
    ],
    [
      'a file is in the way',
      () => {
        mkdirSync(shared);
        writeFileSync(cache, '');
      },
    ],
  ])('nowhere if %s', (_what, arrange) => {
    arrange();
    expect(privateCache(folder, UID)).toBeUndefined();
  });

  test("nowhere in another user's checkout, whoever runs it, and not where users are unknown", () => {
    expect(privateCache(folder, UID + 1)).toBeUndefined();
    expect(privateCache(folder, undefined)).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('by the command, from its first run on', () => {
    cpSync(BIN, join(root, 'bin'), { recursive: true });
    mkdirSync(join(root, 'src', 'cli'), { recursive: true });
    writeFileSync(
      join(root, 'src', 'cli', 'main.ts'),
      'const said: string = "it runs";\nconsole.log(said);\n',
    );
    const { NODE_COMPILE_CACHE: _, ...env } = process.env;
    const run = () =>
      execFileSync(process.execPath, [join(root, 'bin', 'interlock.mjs')], { encoding: 'utf8', env }).trim();
    expect(run()).toBe('it runs');
    const kept = readdirSync(cache, { recursive: true });
    expect(kept.length).toBeGreaterThan(1);
    expect(run()).toBe('it runs');
    expect(readdirSync(cache, { recursive: true })).toEqual(kept);
  });
});
