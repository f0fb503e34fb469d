import { copyFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateKey, keyIdOf, spkiOf } from '../../src/identity/index.ts';
import { main } from '../../src/cli/cli.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import { addKey, readKeyFile, removeKey } from '../../src/server/keys/key-file.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane, until } from './planes.test-helper.ts';

/** A command of a plane's machine. */
async function run(plane: SharedPlane, ...args: string[]) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const terminal = new Terminal(out, err, {});
  const code = await main([...args, '--state', plane.dir, '--json'], { terminal, now: Date.now });
  out.end();
  err.end();
  const [said, wrong] = [await text(out), await text(err)];
  return { code, wrong, value: said === '' ? undefined : JSON.parse(said) };
}

describe.skipIf(!hasPostgres)('the key of the key file is changed under two control planes', () => {
  let url = '';
  const files = { a: '', b: '' };
  let a: SharedPlane;
  let b: SharedPlane;
  let [old, added] = ['', ''];

  beforeAll(async () => {
    url = await newPostgresUrl();
    files.a = newKeyFile();
    files.b = newKeyFile();
    copyFileSync(files.a, files.b);
    old = readKeyFile(files.a)[0].id;
    a = await SharedPlane.start({ url, keyFile: files.a });
    b = await SharedPlane.start({ url, keyFile: files.b });
  }, 60_000);
  afterAll(async () => {
    await Promise.all([a?.close(), b?.close()]);
  }, 30_000);

  const heard = (by: SharedPlane, key: string) =>
    until(() => {
      const others = by.plane.replicas.keysOfOthers();
      return others.length === 1 && others.every(({ keys = [] }) => keys.includes(key));
    });
  const sealed = async () => {
    const { value } = await run(a, 'authority', 'keys');
    return Object.fromEntries(value.keys.map(({ id, seals }: { id: string; seals: number }) => [id, seals]));
  };

  test('a key that one of them has not got seals nothing, and what either puts the other one opens', async () => {
    await heard(a, old);
    added = addKey(files.a);
    expect((await run(a, 'authority', 'keys', '--check')).code).toBe(3);
    const refused = await run(a, 'authority', 'reseal');
    expect(refused.code).toBe(1);
    expect(refused.wrong).toMatch(new RegExp(`has not got the key ${added}`));
    // The check before a start says what is to be done, and changes nothing.
    const out = new PassThrough();
    const args = ['up', '--check', '--database', url, '--key-file', files.a, '--listen', '127.0.0.1:0'];
    await main([...args, '--http', '127.0.0.1:0', '--state', join(tmpdir(), 'interlock-none')], {
      terminal: new Terminal(out, out, {}),
      now: Date.now,
    });
    out.end();
    expect((await text(out)).replaceAll(/\s+/g, ' ')).toContain(
      `keys are still sealed with ${old}, and ${added} is the first`,
    );
    const key = generateKey('ec-p256');
    const id = await a.plane.keys.vault.put(key);
    expect((await b.plane.keys.vault.get(id)).equals(key)).toBe(true);
    expect(await sealed()).toMatchObject({ [added]: 0 });
    // One that comes with both at this moment, or with the old one alone, is as good.
    for (const keyFile of [files.a, files.b]) {
      const third = await SharedPlane.start({ url, keyFile });
      await third.plane.authorities.signing();
      await third.close();
    }
    await a.plane.keys.vault.remove(id);
  });

  test('once both have it all is resealed under it while they sign and put, and the old one is not needed any more', async () => {
    copyFileSync(files.a, files.b);
    await heard(a, added);
    const puts = async (plane: SharedPlane) => {
      const ids = [];
      for (let i = 0; i < 5; i++) ids.push(await plane.plane.keys.vault.put(generateKey('ec-p256')));
      return ids;
    };
    // At both at once, and keys are made meanwhile.
    const [ofA, ofB, one, two] = await Promise.all([
      puts(a),
      puts(b),
      run(a, 'authority', 'reseal'),
      run(b, 'authority', 'reseal'),
    ]);
    expect([one.code, two.code]).toEqual([0, 0]);
    expect(await sealed()).toEqual({ [added]: expect.any(Number), [old]: 0 });
    expect(await run(b, 'authority', 'keys', '--check')).toMatchObject({ code: 0, value: { isDone: true } });
    for (const id of [...ofA, ...ofB]) expect(keyIdOf(spkiOf(await b.plane.keys.vault.get(id)))).toBe(id);
    const audit = await a.plane.store.audit(1, 1000);
    expect(audit.filter(({ act }) => act === 'keys.reseal').map(({ what }) => what)).toEqual([added, added]);
    for (const file of [files.a, files.b]) removeKey(file, old);
    await a.plane.authorities.signing();
    const third = await SharedPlane.start({ url, keyFile: files.a });
    for (const id of await third.plane.keys.vault.list()) await third.plane.keys.vault.get(id);
    await third.close();
  });

  test('who has the old key alone does not start, and no new authority takes the place of the one there is', async () => {
    const before = a.activeAuthority();
    const file = newKeyFile();
    copyFileSync(files.a, file);
    addKey(file);
    removeKey(file, added);
    await expect(SharedPlane.start({ url, keyFile: file })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(added),
    });
    expect(b.activeAuthority()).toBe(before);
    expect(b.plane.authorities.slots).toHaveLength(1);
  });
});
