import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { parseAddress } from './address.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-address-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function passfile(content: string, mode = 0o600): NodeJS.ProcessEnv {
  const file = join(root, 'passfile');
  writeFileSync(file, content);
  chmodSync(file, mode);
  return { PGPASSFILE: file };
}

describe('the URL of a database', () => {
  test('names its host, port, database, user and schema', () => {
    expect(parseAddress('postgres://me@db.example:6543/estate?schema=prod')).toMatchObject({
      host: 'db.example',
      port: 6543,
      database: 'estate',
      user: 'me',
      schema: 'prod',
      name: 'estate at db.example:6543',
    });
    expect(parseAddress('postgresql://me@/estate?host=/run/postgresql')).toMatchObject({
      host: '/run/postgresql',
      port: 5432,
      ssl: false,
      schema: 'interlock',
    });
    expect(parseAddress('postgres://a%40b@[::1]/x%2Fy')).toMatchObject({
      host: '::1',
      user: 'a@b',
      database: 'x/y',
    });
  });

  test('verifies a server beyond this machine in full where it does not say otherwise', () => {
    const ssl = (url: string) => parseAddress(url).ssl;
    expect(ssl('postgres://me@db.example/x')).toEqual({ minVersion: 'TLSv1.2' });
    expect(ssl('postgres://me@db.example/x?sslmode=verify-full')).not.toHaveProperty('checkServerIdentity');
    expect(ssl('postgres://me@127.0.0.1/x')).toBe(false);
    expect(ssl('postgres://me@db.example/x?sslmode=disable')).toBe(false);
    const root = new URL(import.meta.url).pathname;
    expect(ssl(`postgres://me@db.example/x?sslmode=verify-ca&sslrootcert=${root}`)).toMatchObject({
      ca: expect.stringContaining('sslrootcert'),
      checkServerIdentity: expect.any(Function),
    });
  });

  test.each([
    ['mysql://me@db/x', 'postgres://USER@HOST'],
    ['postgres://me:s3cret@ho st/x', 'not such a URL'],
    ['postgres://me:s3cret@db/x?sslmode=require', 'does not verify'],
    ['postgres://me:s3cret@db/x?sslmode=prefer', 'plain text'],
    ['postgres://me:s3cret@db/x?sslmode=verify-full&sslmode=disable', 'once each'],
    ['postgres://me:s3cret@db/x?options=-c%20fsync=off', 'is not one of'],
    ['postgres://me:s3cret@db/x?schema=a;drop', 'schema'],
    ['postgres://me:s3cret%@db/x', 'hexadecimal'],
    // What is not escaped in a password ends the host, and a part of it is a port, a path or a fragment.
    ['postgres://me:12s3cret#x@host/db', 'write # as %23'],
    ['postgres://me:12#s3cret@host/db', 'write # as %23'],
    ['postgres://me:12/s3cret@host/db', '/ as %2F'],
    ['postgres://me:12/34#s3cret@host/db', '/ as %2F'],
    // A "?" that was not written as %3F ends the host, and the rest of the password is a parameter.
    ['postgres://me:12?s3cret@db/x', 'is not one of'],
  ])('is refused without its password being said: %s', (url, said) => {
    const refused = () => parseAddress(url).name;
    expect(refused).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining(said) }),
    );
    try {
      refused();
    } catch (error) {
      expect(inspect(error)).not.toContain('s3cret');
    }
  });

  test('holds a password that is given to whoever asks for it, and shown to nobody', async () => {
    const address = parseAddress('postgres://me:s3%3Acret@db.example/x');
    expect(await address.password()).toBe('s3:cret');
    expect(inspect(address, { depth: 9 }) + JSON.stringify(address)).not.toContain('cret');
  });
});

describe('PGPASSFILE', () => {
  const of = (url: string, environment: NodeJS.ProcessEnv) => parseAddress(url, environment).password();

  test('gives the password of the first line that fits', async () => {
    const file = passfile(
      '# comment:*:*:*:no\nother:5432:x:me:no\ndb.example:*:x:me:p\\:a\\\\b:c\n*:*:*:*:last\nlocalhost:*:*:*:never\n',
    );
    expect(await of('postgres://me@db.example/x', file)).toBe('p:a\\b:c');
    expect(await of('postgres://me@db.example/y', file)).toBe('last');
    expect(await of('postgres://me@/y?host=/run/pg', file)).toBe('last');
    expect(await of('postgres://me@/y?host=/run/pg', passfile('localhost:5432:y:me:here'))).toBe('here');
  });

  test('is refused where others may read it, and missed where it says nothing', async () => {
    const url = 'postgres://me@db.example/x';
    await expect(of(url, passfile('*:*:*:*:p', 0o640))).rejects.toMatchObject({ code: 'forbidden' });
    await expect(of(url, passfile('other:*:*:*:p'))).rejects.toMatchObject({ code: 'usage' });
    await expect(of(url, { PGPASSFILE: join(root, 'none') })).rejects.toMatchObject({
      message: expect.stringContaining('PGPASSFILE'),
    });
  });
});
