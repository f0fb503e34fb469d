import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { generateKey, KEY_ALGORITHMS, type KeyAlgorithm, keyIdOf, spkiOf } from '../../identity/index.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { FileVault } from './file-vault.ts';
import type { KeyVault } from './key-vault.ts';
import { SealedVault } from './sealed-vault.ts';

const dirs: string[] = [];
const newDir = () => {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-vault-'));
  dirs.push(dir);
  return dir;
};
const stores: IdentityStore[] = [];
const newStore = async () => {
  const store = await openIdentityStore(newDir(), { create: true });
  stores.push(store);
  return store;
};
const newSealing = () => createSecretKey(randomBytes(32));

afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

describe.each<[string, () => Promise<KeyVault>]>([
  ['files', async () => new FileVault(newDir())],
  ['a store', async () => SealedVault.open(await newStore(), newSealing(), 'key')],
])('the vault in %s', (_, make) => {
  test('gives back what was put, by its ID, until it is removed', async () => {
    const vault = await make();
    // Values of the table are its own keys.
    const keys = (Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[]).map((algorithm) => generateKey(algorithm));
    const ids = await Promise.all(keys.map((key) => vault.put(key)));
    expect(ids).toEqual(keys.map((key) => keyIdOf(spkiOf(key))));
    for (const [i, id] of ids.entries())
      expect((await vault.get(id)).equals(keys[i] ?? newSealing())).toBe(true);
    expect((await vault.list()).toSorted()).toEqual(ids.toSorted());
    const [first = '', ...rest] = ids;
    expect(await vault.has(first)).toBe(true);
    await vault.put(keys[0] ?? generateKey('ec-p256'));
    await vault.remove(first);
    await vault.remove(first);
    expect(await vault.has(first)).toBe(false);
    expect((await vault.list()).toSorted()).toEqual(rest.toSorted());
  });

  test('says that a key is not there, and takes no name that is none', async () => {
    const vault = await make();
    await expect(vault.get('0'.repeat(40))).rejects.toMatchObject({ code: 'not_found' });
    await expect(vault.get('../../etc/passwd')).rejects.toThrow(TypeError);
    expect(await vault.list()).toEqual([]);
  });
});

describe('the vault in a store', () => {
  test('refuses a key that was changed or put in the place of another, and quotes none', async () => {
    const store = await newStore();
    const vault = await SealedVault.open(store, newSealing(), 'key');
    const [a, b] = [await vault.put(generateKey('ec-p256')), await vault.put(generateKey('ec-p256'))];
    const sealed = new Map(
      (await store.documents('key')).map(({ name, data }) => [name, JSON.stringify(data).slice(1, -1)]),
    );
    const put = (name: string, data: string | null) =>
      store.commit([{ change: 'put', kind: 'key', name, data }]);
    const other = sealed.get(b) ?? '';
    const bytes = Buffer.from(sealed.get(a) ?? '', 'base64');
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    for (const data of [other, bytes.toString('base64'), bytes.toString('base64').slice(0, 20), '', null]) {
      await put(a, data);
      const error: unknown = await vault.get(a).catch((error: unknown) => error);
      expect(error).toMatchObject({ code: 'state' });
      expect(String(error)).not.toContain(other.slice(0, 20));
    }
  });

  test('is opened with the key that it was made with, and with no other', async () => {
    const store = await newStore();
    const sealing = newSealing();
    // Nothing is kept where it is only looked at.
    await SealedVault.check(store, newSealing(), 'other', false);
    const id = await (await SealedVault.open(store, sealing, 'file')).put(generateKey('ec-p256'));
    expect(await (await SealedVault.open(store, sealing, 'file')).has(id)).toBe(true);
    for (const keep of [true, false])
      await expect(SealedVault.check(store, newSealing(), 'other.key', keep)).rejects.toMatchObject({
        code: 'untrusted',
        subject: 'other.key',
      });
  });

  test('is one of two that are opened at once on an empty store', async () => {
    const store = await newStore();
    const done = await Promise.allSettled([
      SealedVault.open(store, newSealing(), 'a'),
      SealedVault.open(store, newSealing(), 'b'),
    ]);
    expect(done.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });
});
