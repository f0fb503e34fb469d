import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { generateKey, keyIdOf, spkiOf } from '../../identity/index.ts';
import { FileVault } from './file-vault.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-vault-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let made = 0;
const newDir = () => join(root, String(++made));

test('a key comes back as it was put, in a file for its owner alone', async () => {
  const dir = newDir();
  const key = generateKey('ec-p256');
  const id = await new FileVault(dir).put(key);
  expect(id).toBe(keyIdOf(spkiOf(key)));
  expect((await new FileVault(dir).get(id)).equals(key)).toBe(true);
  expect(statSync(join(dir, 'keys')).mode & 0o777).toBe(0o700);
  expect(statSync(join(dir, 'keys', `${id}.pem`)).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(dir, 'keys'))).toEqual([`${id}.pem`]);
  await new FileVault(dir).remove(id);
  expect(await new FileVault(dir).list()).toEqual([]);
});

test('keys that others can read are refused, with what to do', async () => {
  const dir = newDir();
  const vault = new FileVault(dir);
  const id = await vault.put(generateKey('ec-p256'));
  const file = join(dir, 'keys', `${id}.pem`);
  chmodSync(file, 0o640);
  await expect(vault.get(id)).rejects.toMatchObject({
    code: 'state',
    message: expect.stringContaining('chmod 0600'),
  });
  chmodSync(file, 0o600);
  chmodSync(join(dir, 'keys'), 0o755);
  await expect(vault.get(id)).rejects.toMatchObject({
    code: 'state',
    message: expect.stringContaining('chmod 0700'),
  });
});

test('a missing, damaged, linked or exchanged key is refused, and no error quotes it', async () => {
  const dir = newDir();
  const vault = new FileVault(dir);
  const [a, b, c, d] = await Promise.all(Array.from({ length: 4 }, () => vault.put(generateKey('ec-p256'))));
  const file = (id = '') => join(dir, 'keys', `${id}.pem`);
  await expect(vault.get('0'.repeat(40))).rejects.toMatchObject({ code: 'not_found' });
  const secret = readFileSync(file(a), 'utf8').slice(40, 80);
  writeFileSync(file(a), readFileSync(file(a), 'utf8').replace('BEGIN', 'BEGUN'));
  renameSync(file(b), `${file(b)}.away`);
  symlinkSync(file(c), file(b));
  renameSync(file(c), file(d));
  for (const id of [a, b, d]) {
    const error: unknown = await vault.get(id ?? '').catch((error: unknown) => error);
    expect(error).toMatchObject({ code: 'state' });
    expect(JSON.stringify([error, String(error), (error as Error).cause])).not.toContain(secret);
  }
  await expect(vault.get('../../etc/passwd')).rejects.toThrow(TypeError);
});
