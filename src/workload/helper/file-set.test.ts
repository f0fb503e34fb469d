import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileSet, type SetFile } from './file-set.ts';

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'set-')), 'identity');
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true, force: true }));

const pair = (version: number | string, more = ''): SetFile[] => [
  { name: 'svid.pem', data: `certificate ${version}${more}`, mode: 0o644 },
  { name: 'svid_key.pem', data: `key ${version}${more}`, mode: 0o600 },
];
const text = (name: string) => readFileSync(join(dir, name), 'utf8');
const folders = () => readdirSync(dir).filter((name) => name.startsWith('..set-'));
const numberIn = (name: string) => / (\d+)/.exec(text(name))?.[1];

describe('a set of files', () => {
  it('is written with its modes, whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      await new FileSet(dir).write(pair(1));
    } finally {
      process.umask(before);
    }
    expect(text('svid.pem')).toBe('certificate 1');
    expect(statSync(join(dir, 'svid.pem')).mode & 0o777).toBe(0o644);
    expect(statSync(join(dir, 'svid_key.pem')).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, '..data')).mode & 0o777).toBe(0o755);
  });

  it('changes as one, and a reader that resolved the folder keeps a whole set for one change more', async () => {
    const set = new FileSet(dir);
    await set.write(pair(1));
    const resolved = join(dir, readlinkSync(join(dir, '..data')));
    await set.write(pair(2));
    expect(text('svid.pem')).toBe('certificate 2');
    expect(readFileSync(join(resolved, 'svid_key.pem'), 'utf8')).toBe('key 1');
    await set.write(pair(3));
    expect(folders()).toHaveLength(2);
    expect(() => statSync(resolved)).toThrow('ENOENT');
  });

  it('loses the names that it no longer has, and touches nothing else', async () => {
    const set = new FileSet(dir);
    await set.write([...pair(1), { name: 'token', data: 't', mode: 0o600 }]);
    writeFileSync(join(dir, 'mine.txt'), 'mine');
    symlinkSync('mine.txt', join(dir, 'mine.link'));
    await set.write(pair(2));
    expect(
      readdirSync(dir)
        .filter((name) => !name.startsWith('..'))
        .toSorted(),
    ).toEqual(['mine.link', 'mine.txt', 'svid.pem', 'svid_key.pem']);
  });

  it('clears away what a crash left', async () => {
    const set = new FileSet(dir);
    await set.write(pair(1));
    mkdirSync(join(dir, '..set-0123456789abcdef'));
    writeFileSync(join(dir, '..set-0123456789abcdef', 'svid.pem'), 'half');
    symlinkSync('nowhere', join(dir, '..link-0123456789abcdef'));
    await set.write(pair(2));
    expect(readdirSync(dir)).not.toContain('..set-0123456789abcdef');
    expect(readdirSync(dir)).not.toContain('..link-0123456789abcdef');
  });

  it("takes over another tool's plain files without a moment of mixture", async () => {
    mkdirSync(dir);
    writeFileSync(join(dir, 'svid.pem'), 'certificate 0');
    writeFileSync(join(dir, 'svid_key.pem'), 'key 0');
    await new FileSet(dir).write(pair(1));
    expect(text('svid_key.pem')).toBe('key 1');
    expect(lstatSync(join(dir, 'svid.pem')).isSymbolicLink()).toBe(true);
    const old = folders().find((name) => name !== readlinkSync(join(dir, '..data'))) ?? '';
    expect(readFileSync(join(dir, old, 'svid.pem'), 'utf8')).toBe('certificate 0');
    expect(readFileSync(join(dir, old, 'svid_key.pem'), 'utf8')).toBe('key 0');
  });

  it('does not copy what a planted link leads to', async () => {
    mkdirSync(dir);
    writeFileSync(join(dir, '../secret'), 'a secret');
    symlinkSync('../secret', join(dir, 'svid.pem'));
    await new FileSet(dir).write(pair(1));
    expect(text('svid.pem')).toBe('certificate 1');
    expect(readFileSync(join(dir, '../secret'), 'utf8')).toBe('a secret');
    expect(folders().map((name) => readFileSync(join(dir, name, 'svid.pem'), 'utf8'))).toEqual([
      'certificate 1',
    ]);
  });

  it.each(['../svid.pem', '.hidden', 'a/b', '', '-', 'x\n', 'a'.repeat(201)])(
    'refuses the name %j',
    async (name) => {
      await expect(new FileSet(dir).write([{ name, data: '', mode: 0o644 }])).rejects.toMatchObject({
        code: 'usage',
      });
    },
  );

  it('refuses one name given twice', async () => {
    await expect(new FileSet(dir).write([...pair(1), ...pair(1)])).rejects.toThrow('given twice');
  });

  it('says so where a folder is in its way, and keeps the set', async () => {
    const set = new FileSet(dir);
    await set.write(pair(1));
    mkdirSync(join(dir, 'token'));
    await expect(set.write([...pair(2), { name: 'token', data: 't', mode: 0o600 }])).rejects.toMatchObject({
      code: 'io',
    });
    expect(numberIn('svid.pem')).toBe(numberIn('svid_key.pem'));
  });

  it.skipIf(process.getuid?.() === 0)('cannot give files away without the right to', async () => {
    await expect(new FileSet(dir, { uid: 1, gid: 1 }).write(pair(1))).rejects.toMatchObject({ code: 'io' });
  });

  it.skipIf(process.getuid?.() !== 0)("belongs to its owner, and its folder stays the writer's", async () => {
    await new FileSet(dir, { uid: 12_345, gid: 54_321 }).write(pair(1));
    const { uid, gid } = statSync(join(dir, 'svid_key.pem'));
    expect([uid, gid]).toEqual([12_345, 54_321]);
    expect(statSync(join(dir, '..data')).uid).toBe(0);
  });
});

/** A process that writes a set, and kills itself with SIGKILL before its Nth step on the file system. */
const CRASHER = `
  import fs from 'node:fs/promises';
  import { syncBuiltinESMExports } from 'node:module';
  const [module, dir, steps] = process.argv.slice(1);
  let left = Number(steps);
  const counted = (of, name) => {
    const real = of[name].bind(of);
    of[name] = async (...args) => {
      if (left-- === 0) process.kill(process.pid, 'SIGKILL');
      const result = await real(...args);
      if (name === 'open') for (const method of ['writeFile', 'chmod', 'sync']) counted(result, method);
      return result;
    };
  };
  for (const name of ['mkdir', 'open', 'rename', 'symlink', 'unlink', 'rm', 'readdir']) counted(fs, name);
  syncBuiltinESMExports();
  const { FileSet } = await import(module);
  await new FileSet(dir).write([
    { name: 'svid.pem', data: 'certificate 2', mode: 0o644 },
    { name: 'svid_key.pem', data: 'key 2', mode: 0o600 },
  ]);
`;

/** How the process of `steps` steps ended: 0 when it got through. */
function crashAt(steps: number, at: string): Promise<number | NodeJS.Signals | null> {
  const module = new URL('./file-set.ts', import.meta.url).href;
  const args = ['--input-type=module', '-e', CRASHER, module, at, String(steps)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)));
}

function plainPair(at: string): void {
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, 'svid.pem'), 'certificate 1');
  writeFileSync(join(at, 'svid_key.pem'), 'key 1');
}

describe('a writer that is killed with SIGKILL', () => {
  it.each([
    ['over a set', async (at: string) => await new FileSet(at).write(pair(1)), 15],
    ["over another tool's plain files", async (at: string) => plainPair(at), 30],
  ] as const)(
    '%s leaves a whole pair at every step, and the next one goes on',
    async (_what, prepare, atLeast) => {
      const ends: unknown[] = [];
      for (let steps = 0; !ends.includes(0); steps += 4) {
        const some = [steps, steps + 1, steps + 2, steps + 3].map(async (step) => {
          const at = join(dir, String(step));
          mkdirSync(dir, { recursive: true });
          await prepare(at);
          const end = await crashAt(step, at);
          const read = (name: string) => readFileSync(join(at, name), 'utf8');
          const both = [read('svid.pem'), read('svid_key.pem')];
          expect([
            ['certificate 1', 'key 1'],
            ['certificate 2', 'key 2'],
          ]).toContainEqual(both);
          await new FileSet(at).write(pair(3));
          expect([read('svid.pem'), read('svid_key.pem')]).toEqual(['certificate 3', 'key 3']);
          expect(readdirSync(at).filter((name) => name.startsWith('..')).length).toBeLessThanOrEqual(3);
          return end;
        });
        ends.push(...(await Promise.all(some)));
      }
      expect(new Set(ends)).toEqual(new Set(['SIGKILL', 0]));
      expect(ends.filter((end) => end === 'SIGKILL').length).toBeGreaterThanOrEqual(atLeast);
    },
  );
});

const tmpfs = (() => {
  const at = mkdtempSync(join(tmpdir(), 'tmpfs-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', at], { stdio: 'ignore' });
    execFileSync('umount', [at], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('No right to mount a small tmpfs: the full disk is not tried.');
    return false;
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
})();

describe.skipIf(!tmpfs)('a full disk', () => {
  it('keeps the old set whole, says so, and takes the next one when there is room', async () => {
    mkdirSync(dir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir]);
    try {
      const set = new FileSet(dir);
      await set.write(pair(1));
      writeFileSync(join(dir, 'ballast'), Buffer.alloc(200_000));
      const failed = set.write(pair(2, ' '.repeat(50_000)));
      await expect(failed).rejects.toMatchObject({
        code: 'io',
        message: expect.stringContaining('ENOSPC') as string,
      });
      expect(text('svid.pem')).toBe('certificate 1');
      expect(text('svid_key.pem')).toBe('key 1');
      expect(folders()).toHaveLength(1);
      rmSync(join(dir, 'ballast'));
      await set.write(pair(3, ' '.repeat(50_000)));
      expect(numberIn('svid.pem')).toBe('3');
      expect(numberIn('svid_key.pem')).toBe('3');
    } finally {
      chmodSync(dir, 0o755);
      execFileSync('umount', [dir]);
    }
  });
});
