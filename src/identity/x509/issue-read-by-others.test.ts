import { execFileSync } from 'node:child_process';
import { webcrypto, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as peculiar from './peculiar.test-helper.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { OID } from '../der/index.ts';
import { type Certificate } from './certificate.ts';
import { NOW } from './craft.test-helper.ts';
import { certificateToPem } from './pem.ts';
import { verifyX509Svid } from './verify.ts';
import { ALGORITHMS, API, chainOf, times } from './issued.test-helper.ts';

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('There is no openssl on this machine: what it says of issued certificates is not tested.');
    return false;
  }
})();
const folder = mkdtempSync(join(tmpdir(), 'interlock-issue-'));
afterAll(() => rmSync(folder, { recursive: true }));

function opensslVerify(leaf: Certificate, untrusted: readonly Certificate[], root: Certificate): string {
  const files = [[root], untrusted, [leaf]].map((certificates, i) => {
    const file = join(folder, `${i}.pem`);
    writeFileSync(file, certificates.map(({ der }) => certificateToPem(der)).join(''));
    return file;
  });
  const [top = '', middle = '', bottom = ''] = files;
  const args = ['verify', '-x509_strict', '-attime', String(NOW / 1000), '-CAfile', top];
  return execFileSync('openssl', [...args, '-untrusted', middle, '-purpose', 'sslserver', bottom], {
    encoding: 'utf8',
  });
}

describe.each(ALGORITHMS)('a chain of %s', (algorithm) => {
  // The system's OpenSSL may be 3.0, which knows no ML-DSA; the one inside Node is asked below.
  test.skipIf(!hasOpenssl || algorithm === 'ml-dsa-65')(
    'passes openssl verify in its strict mode',
    async () => {
      const [leaf, child, root] = await chainOf(algorithm, algorithm);
      if (leaf === undefined || child === undefined || root === undefined) throw new Error('three were made');
      expect(opensslVerify(leaf, [child], root)).toMatch(/: OK\n$/);
    },
  );

  test("is what Node's X509Certificate reads and verifies", async () => {
    const [leaf, child, root] = (await chainOf(algorithm, algorithm)).map(
      ({ der }) => new X509Certificate(der),
    );
    if (leaf === undefined || child === undefined || root === undefined) throw new Error('three were made');
    expect(leaf.subjectAltName).toBe(`URI:${API}, DNS:api.payments.svc, DNS:api`);
    expect([leaf.ca, child.ca, root.ca]).toEqual([false, true, true]);
    expect(leaf.verify(child.publicKey)).toBe(true);
    expect(leaf.checkIssued(child)).toBe(true);
    expect(leaf.checkIssued(child)).toBe(true);
    expect(child.verify(root.publicKey)).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(false);
    expect(leaf.validFromDate.getTime()).toBe(times.notBefore);
    expect(leaf.validToDate.getTime()).toBe(times.notAfter);
  });

  test('is what @peculiar/x509 reads', async () => {
    const [leaf, child] = await chainOf(algorithm, algorithm);
    if (leaf === undefined || child === undefined) throw new Error('three were made');
    const read = new peculiar.X509Certificate(new Uint8Array(leaf.der));
    expect(read.serialNumber).toBe(leaf.serial);
    expect(read.issuer).toBe(new peculiar.X509Certificate(new Uint8Array(child.der)).subject);
    const names = read.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON();
    expect(names).toEqual([
      { type: 'url', value: API },
      { type: 'dns', value: 'api.payments.svc' },
      { type: 'dns', value: 'api' },
    ]);
    expect(read.getExtension(peculiar.KeyUsagesExtension)).toMatchObject({ critical: true, usages: 1 });
    expect(read.getExtension(peculiar.ExtendedKeyUsageExtension)?.usages).toEqual([
      OID.serverAuth,
      OID.clientAuth,
    ]);
    expect(read.getExtension(peculiar.BasicConstraintsExtension)).toMatchObject({
      ca: false,
      critical: true,
    });
    expect(read.getExtension(peculiar.SubjectKeyIdentifierExtension)?.keyId).toBe(leaf.subjectKeyId);
    expect(read.getExtension(peculiar.AuthorityKeyIdentifierExtension)?.keyId).toBe(child.subjectKeyId);
  });

  // @peculiar/x509 has no table for ML-DSA signatures.
  test.skipIf(algorithm === 'ml-dsa-65')('is signed as @peculiar/x509 verifies', async () => {
    const chain = (await chainOf(algorithm, algorithm)).map(
      ({ der }) => new peculiar.X509Certificate(new Uint8Array(der)),
    );
    const [leaf, child, root] = chain;
    if (leaf === undefined || child === undefined || root === undefined) throw new Error('three were made');
    const at = { date: new Date(NOW) };
    expect(await leaf.verify({ publicKey: child.publicKey, ...at }, webcrypto)).toBe(true);
    expect(await child.verify({ publicKey: root.publicKey, ...at }, webcrypto)).toBe(true);
    expect(await leaf.verify({ publicKey: root.publicKey, ...at }, webcrypto)).toBe(false);
  });

  test.each(ALGORITHMS)('with a leaf of %s is verified here', async (leafAlgorithm) => {
    const [leaf, child, root] = await chainOf(algorithm, leafAlgorithm);
    if (leaf === undefined || child === undefined || root === undefined) throw new Error('three were made');
    const bundles = new Map([['example.org', { x509Authorities: [root.der] }]]);
    const verified = verifyX509Svid([leaf.der, child.der], { bundles, now: NOW });
    expect(verified.spiffeId).toBe(API);
    expect(verified.authority.prefixes).toBeUndefined();
    expect(verified.chain[1]?.prefixes).toEqual(['/area/payments/']);
  });
});
