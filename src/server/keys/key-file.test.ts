import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { addKey, makeKeyFile, readKeyFile, removeKey } from './key-file.ts';

const firstOf = (file: string) => readKeyFile(file)[0].key;

const dir = mkdtempSync(join(tmpdir(), 'interlock-key-file-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('a key file holds 256 random bits for its owner, and is not written over', () => {
  const [a, b] = [join(dir, 'a'), join(dir, 'b')];
  makeKeyFile(a);
  makeKeyFile(b);
  expect(statSync(a).mode & 0o777).toBe(0o600);
  expect(firstOf(a).symmetricKeySize).toBe(32);
  expect(firstOf(a).equals(firstOf(b))).toBe(false);
  const before = readFileSync(a, 'utf8');
  expect(() => makeKeyFile(a)).toThrow(expect.objectContaining({ code: 'conflict' }));
  expect(readFileSync(a, 'utf8')).toBe(before);
  expect(() => makeKeyFile(join(dir, 'none', 'a'))).toThrow(expect.objectContaining({ code: 'not_found' }));
});

test('a key file that others may read or change is refused; one that its group may read is not', () => {
  const file = join(dir, 'modes');
  makeKeyFile(file);
  for (const mode of [0o604, 0o602, 0o620, 0o644, 0o666]) {
    chmodSync(file, mode);
    expect(() => readKeyFile(file), mode.toString(8)).toThrow(expect.objectContaining({ code: 'state' }));
  }
  for (const mode of [0o600, 0o400, 0o440]) {
    chmodSync(file, mode);
    expect(firstOf(file).symmetricKeySize).toBe(32);
  }
});

test('a new key comes first, an old one goes, and who may read the file stays', () => {
  const file = join(dir, 'several');
  makeKeyFile(file);
  chmodSync(file, 0o640);
  const [old] = readKeyFile(file);
  const added = addKey(file);
  expect(readKeyFile(file).map(({ id }) => id)).toEqual([added, old.id]);
  expect(readKeyFile(file)[1]?.key.equals(old.key)).toBe(true);
  expect(statSync(file).mode & 0o777).toBe(0o640);
  writeFileSync(file, `# new\n\n${readFileSync(file, 'utf8').replaceAll('\n', '\r\n')}`);
  expect(readKeyFile(file)).toHaveLength(2);
  expect(() => removeKey(file, 'none')).toThrow(expect.objectContaining({ code: 'not_found' }));
  removeKey(file, old.id);
  expect(readKeyFile(file).map(({ id }) => id)).toEqual([added]);
  expect(() => removeKey(file, added)).toThrow(expect.objectContaining({ code: 'usage' }));
  for (let i = 0; i < 15; i++) addKey(file);
  expect(() => addKey(file)).toThrow(expect.objectContaining({ code: 'limit' }));
  expect(readKeyFile(file)).toHaveLength(16);
});

test.each([
  ['nothing', ''],
  ['too few bytes', `${Buffer.alloc(31, 7).toString('base64')}\n`],
  ['too many bytes', `${Buffer.alloc(33, 7).toString('base64')}\n`],
  ['hexadecimal digits', `${'ab'.repeat(32)}\n`],
  ['a second line', `${Buffer.alloc(32, 7).toString('base64')}\nmore\n`],
  ['a large file', 'A'.repeat(100_000)],
])('a file with %s is no key, and no error quotes it', (_, content) => {
  const file = join(dir, 'other');
  writeFileSync(file, content, { mode: 0o600 });
  let error: unknown;
  try {
    readKeyFile(file);
  } catch (caught) {
    error = caught;
  }
  expect(error).toMatchObject({ code: 'usage' });
  if (content.length > 8) expect(String(error)).not.toContain(content.slice(0, 8));
});
