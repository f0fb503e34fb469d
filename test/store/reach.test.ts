import { webcrypto } from 'node:crypto';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as x509 from '../../src/identity/x509/peculiar.test-helper.ts';
import { openPostgresStores } from '../../src/store/index.ts';
import { databaseOf } from '../../src/store/postgres/raw.test-helper.ts';
import {
  hasPostgres,
  newPostgresUrl,
  type OwnServer,
  startServer,
} from '../../src/store/postgres/server.test-helper.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-reach-'));
const PASSWORD = 'p:a@s\\s/w%rd';
let server: OwnServer;
let port = 0;
const rootFile = join(root, 'root.pem');

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

/** A certificate for `localhost` that is its own authority, and its key. */
async function certificate(): Promise<{ cert: string; key: string }> {
  const alg = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(alg, true, ['sign', 'verify']);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=localhost',
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + 86_400_000),
    signingAlgorithm: alg,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'localhost' }]),
    ],
  });
  const key = x509.PemConverter.encode(
    await webcrypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  );
  return { cert: cert.toString('pem'), key };
}

beforeAll(async () => {
  if (!hasPostgres) return;
  const { cert, key } = await certificate();
  writeFileSync(rootFile, cert);
  port = await freePort();
  server = await startServer(
    [
      'listen_addresses=127.0.0.1',
      `port=${port}`,
      'ssl=on',
      'ssl_cert_file=server.crt',
      'ssl_key_file=server.key',
    ],
    {
      password: PASSWORD,
      prepare: (dir) => {
        for (const [name, content] of Object.entries({ 'server.crt': cert, 'server.key': key })) {
          const file = join(dir, 'data', name);
          writeFileSync(file, content, { mode: 0o600 });
          if (process.getuid?.() === 0) chownSync(file, 65_534, 65_534);
        }
      },
    },
  );
});

afterAll(async () => {
  await server?.stop();
  rmSync(root, { recursive: true, force: true });
});

const url = (host: string, parameters: string, password = PASSWORD) =>
  `postgres://postgres${password === '' ? '' : `:${encodeURIComponent(password)}`}@${host}:${port}/postgres?${parameters}`;
const open = (...args: Parameters<typeof url>) => openPostgresStores(url(...args), { patience: 1 });

describe.skipIf(!hasPostgres)('a database beyond the network', () => {
  test('is reached with sslmode=verify-full, and the connection is encrypted', async () => {
    const stores = await open('localhost', `sslmode=verify-full&sslrootcert=${rootFile}`);
    await stores.identity.commit([{ change: 'put', kind: 'rule', name: 'a', data: 1 }]);
    await stores.close();
    const db = await databaseOf(url('localhost', `sslmode=verify-full&sslrootcert=${rootFile}`));
    const { rows } = await db.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    await db.end();
    expect(rows).toEqual([{ ssl: true }]);
  });

  test('is not trusted under another name, with another root, or in plain text; and hears no password', async () => {
    const untrusted = { code: 'untrusted', message: expect.stringContaining('did not prove who it is') };
    await expect(open('127.0.0.1', `sslmode=verify-full&sslrootcert=${rootFile}`)).rejects.toMatchObject(
      untrusted,
    );
    await expect(open('localhost', 'sslmode=verify-full')).rejects.toMatchObject(untrusted);
    const plain = createServer((socket) =>
      socket.on('error', () => {}).once('data', () => socket.write('N')),
    );
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const address = plain.address();
    const at = typeof address === 'object' ? address?.port : 0;
    const toPlain = url('localhost', `sslmode=verify-full&sslrootcert=${rootFile}`).replace(
      `:${port}/`,
      `:${at}/`,
    );
    await expect(openPostgresStores(toPlain, { patience: 1 })).rejects.toMatchObject(untrusted);
    plain.close();
    // With a root of one's own, verify-ca does not look at the name.
    await (await open('127.0.0.1', `sslmode=verify-ca&sslrootcert=${rootFile}`)).close();
  });

  test('takes its password from PGPASSFILE, read anew for each connection', async () => {
    const file = join(root, 'passfile');
    const before = process.env['PGPASSFILE'];
    process.env['PGPASSFILE'] = file;
    try {
      const escaped = PASSWORD.replace(/[\\:]/g, '\\$&');
      writeFileSync(file, `localhost:${port}:postgres:postgres:${escaped}\n`, { mode: 0o600 });
      const stores = await open('localhost', 'sslmode=disable', '');
      await stores.close();
      writeFileSync(file, `localhost:${port}:postgres:postgres:wrong\n`);
      await expect(open('localhost', 'sslmode=disable', '')).rejects.toMatchObject({ code: 'state' });
      rmSync(file);
      await expect(open('localhost', 'sslmode=disable', '')).rejects.toMatchObject({
        message: expect.stringContaining('PGPASSFILE'),
      });
    } finally {
      if (before === undefined) delete process.env['PGPASSFILE'];
      else process.env['PGPASSFILE'] = before;
    }
  });

  test('that refuses says why, and the password is in no part of the error', async () => {
    const wrong = 'wr0ng-s3cret';
    const failures = [
      open('localhost', 'sslmode=disable', wrong),
      open('localhost', `sslmode=verify-full&sslrootcert=${rootFile}`, wrong),
      openPostgresStores(
        url('localhost', 'sslmode=disable', wrong).replace(/:\d+\/postgres/, ':1/postgres'),
        { patience: 1 },
      ),
      openPostgresStores(url('localhost', 'sslmode=disable').replace('/postgres?', '/nothing?'), {
        patience: 1,
      }),
    ];
    const errors = (await Promise.allSettled(failures)).map(
      (each) => each.status === 'rejected' && each.reason,
    );
    expect(errors.map(({ code }) => code)).toEqual(['state', 'state', 'unavailable', 'state']);
    for (const error of errors) {
      const shown = inspect(error, { depth: 20, showHidden: true });
      expect(shown).not.toContain(wrong);
      expect(shown).not.toContain(PASSWORD);
    }
  });
});

test.skipIf(!hasPostgres)(
  'a commit of one replica reaches the watchers of another one by notification, and not by its heartbeat',
  async () => {
    const at = await newPostgresUrl();
    // A heartbeat that never comes while the test runs.
    const options = { connections: 2, heartbeat: 600_000 };
    const [one, two] = [await openPostgresStores(at, options), await openPostgresStores(at, options)];
    const told = Promise.withResolvers<void>();
    await two.identity.watch(() => told.resolve());
    await one.identity.commit([{ change: 'put', kind: 'rule', name: 'a', data: 1 }]);
    const timer = new AbortController();
    const late = pause(60_000, 'late', { signal: timer.signal }).catch(() => 'ended');
    expect(await Promise.race([told.promise.then(() => 'told'), late])).toBe('told');
    timer.abort();
    await Promise.all([one.close(), two.close()]);
  },
);
