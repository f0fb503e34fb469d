import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { generateKey, KEY_ALGORITHMS, type KeyAlgorithm, keyIdOf, spkiOf } from '../../identity/index.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { FileVault } from './file-vault.ts';
import { addKey, makeKeyFile, removeKey } from './key-file.ts';
import { KeyRing } from './key-ring.ts';
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
/** A key file of its own, and its ring. */
const newRing = () => {
  const file = join(newDir(), 'key');
  makeKeyFile(file);
  return new KeyRing(file);
};

afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

describe.each<[string, () => Promise<KeyVault>]>([
  ['files', async () => new FileVault(newDir())],
  ['a store', async () => SealedVault.open(await newStore(), newRing())],
])('the vault in %s', (_, make) => {
  test('gives back what was put, by its ID, until it is removed', async () => {
    const vault = await make();
    // Values of the table are its own keys.
    const keys = (Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[]).map((algorithm) => generateKey(algorithm));
    const ids = await Promise.all(keys.map((key) => vault.put(key)));
    expect(ids).toEqual(keys.map((key) => keyIdOf(spkiOf(key))));
    for (const [i, id] of ids.entries())
      expect((await vault.get(id)).equals(keys[i] ?? generateKey('ec-p256'))).toBe(true);
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
    const vault = await SealedVault.open(store, newRing());
    const [a, b] = [await vault.put(generateKey('ec-p256')), await vault.put(generateKey('ec-p256'))];
    const sealed = await sealedIn(store);
    const put = (name: string, data: string | null) =>
      store.commit([{ change: 'put', kind: 'key', name, data }]);
    const other = sealed.get(b) ?? '';
    const [id = '', text = ''] = (sealed.get(a) ?? '').split('.');
    const bytes = Buffer.from(text, 'base64');
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    const changed = bytes.toString('base64');
    for (const data of [other, `${id}.${changed}`, changed, `${id}.${changed.slice(0, 20)}`, '', null]) {
      await put(a, data);
      const error: unknown = await vault.get(a).catch((error: unknown) => error);
      expect(error).toMatchObject({ code: 'state' });
      expect(String(error)).not.toContain(other.slice(17, 37));
    }
  });

  test('is opened with the key that it was made with, and with no other', async () => {
    const store = await newStore();
    const ring = newRing();
    // Nothing is kept where it is only looked at.
    await SealedVault.check(store, newRing(), false);
    const id = await (await SealedVault.open(store, ring)).put(generateKey('ec-p256'));
    expect(await (await SealedVault.open(store, new KeyRing(ring.file))).has(id)).toBe(true);
    const other = newRing();
    for (const keep of [true, false])
      await expect(SealedVault.check(store, other, keep)).rejects.toMatchObject({
        code: 'untrusted',
        subject: other.file,
      });
    // Nor is it a new one because somebody took away what it is known by.
    await store.commit([{ change: 'remove', kind: 'setting', name: 'key-check' }]);
    await expect(SealedVault.open(store, other)).rejects.toMatchObject({ code: 'untrusted' });
  });

  test('is one of two that are opened at once on an empty store', async () => {
    const store = await newStore();
    const done = await Promise.allSettled([
      SealedVault.open(store, newRing()),
      SealedVault.open(store, newRing()),
    ]);
    expect(done.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('opens what an earlier program has sealed, and gives it the name of its key', async () => {
    const store = await newStore();
    const ring = newRing();
    const vault = await SealedVault.open(store, ring);
    const key = generateKey('ec-p256');
    const id = await vault.put(key);
    // Without the ID of the key, as it was before.
    for (const kind of ['key', 'setting'] as const)
      for (const { name, data } of await store.documents(kind))
        if (kind === 'key' || name === 'key-check')
          await store.commit([{ change: 'put', kind, name, data: textOf(data).split('.')[1] ?? '' }]);
    await expect(SealedVault.open(store, newRing())).rejects.toMatchObject({ code: 'untrusted' });
    const again = await SealedVault.open(store, ring);
    expect((await again.get(id)).equals(key)).toBe(true);
    expect(await again.sealed()).toEqual({ sealing: ring.ids[0], sealed: new Map([[ring.ids[0], 1]]) });
    expect(await again.reseal()).toBe(1);
    expect((await sealedIn(store)).get(id)).toMatch(new RegExp(`^${ring.ids[0]}\\.`));
  });

  test('seals with the old key until it is resealed, and the old one is missed as long as it seals something', async () => {
    const store = await newStore();
    const ring = newRing();
    const [old = ''] = ring.ids;
    const vault = await SealedVault.open(store, ring);
    const keys = Array.from({ length: 3 }, () => generateKey('ec-p256'));
    const ids = [];
    for (const key of keys) ids.push(await vault.put(key));
    const added = addKey(ring.file);
    ids.push(await vault.put(generateKey('ec-p256')));
    expect(await vault.sealed()).toEqual({ sealing: old, sealed: new Map([[old, 4]]) });
    // Stopped after the second one: what is new goes to the new key, and nobody starts without both.
    const real = store.commit.bind(store);
    let commits = 0;
    store.commit = async (...args) => {
      if (++commits > 3) throw new InterlockError('unavailable', 'database', 'gone');
      return real(...args);
    };
    await expect(vault.reseal()).rejects.toMatchObject({ code: 'unavailable' });
    store.commit = real;
    ids.push(await vault.put(generateKey('ec-p256')));
    expect(await vault.sealed()).toEqual({
      sealing: added,
      sealed: new Map([
        [added, 3],
        [old, 2],
      ]),
    });
    const alone = join(newDir(), 'alone');
    for (const without of [old, added]) {
      copyFileSync(ring.file, alone);
      removeKey(alone, without);
      await expect(SealedVault.check(store, new KeyRing(alone), true)).rejects.toMatchObject({
        code: 'untrusted',
        message: expect.stringContaining(without),
      });
    }
    // Again, while others put and take away.
    const [gone = ''] = ids;
    const [resealed, made] = await Promise.all([
      vault.reseal(),
      vault.put(generateKey('ec-p384')),
      vault.remove(gone),
    ]);
    expect([1, 2]).toContain(resealed);
    expect((await vault.sealed()).sealed).toEqual(new Map([[added, 5]]));
    removeKey(ring.file, old);
    const after = await SealedVault.open(store, new KeyRing(ring.file));
    expect((await after.list()).toSorted()).toEqual([...ids.slice(1), made].toSorted());
    for (const id of await after.list()) expect(keyIdOf(spkiOf(await after.get(id)))).toBe(id);
    expect(await after.reseal()).toBe(0);
  });

  test('goes on with the keys that it had where the file is broken, and says so where it is asked to reseal', async () => {
    const store = await newStore();
    const ring = newRing();
    const vault = await SealedVault.open(store, ring);
    const id = await vault.put(generateKey('ec-p256'));
    writeFileSync(ring.file, 'half');
    expect(await vault.has(await vault.put(generateKey('ec-p256')))).toBe(true);
    await vault.get(id);
    await expect(vault.reseal()).rejects.toMatchObject({ code: 'usage' });
    expect(ring.ids).toHaveLength(1);
  });

  test('reseals to no other key than the one that was asked for, where the file begins with another one by then', async () => {
    const store = await newStore();
    const ring = newRing();
    const vault = await SealedVault.open(store, ring);
    const id = await vault.put(generateKey('ec-p256'));
    const [old = ''] = ring.ids;
    const asked = addKey(ring.file);
    const later = addKey(ring.file);
    await expect(vault.reseal(asked)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(new RegExp(`${later} now.*nothing is resealed`)),
    });
    expect(await vault.sealed()).toEqual({ sealing: old, sealed: new Map([[old, 1]]) });
    removeKey(ring.file, later);
    expect([await vault.reseal(asked), (await vault.sealed()).sealing]).toEqual([1, asked]);
    expect(keyIdOf(spkiOf(await vault.get(id)))).toBe(id);
  });
});

const sealedIn = async (store: IdentityStore) =>
  new Map((await store.documents('key')).map(({ name, data }) => [name, textOf(data)]));

const textOf = (data: unknown) => (typeof data === 'string' ? data : '');
