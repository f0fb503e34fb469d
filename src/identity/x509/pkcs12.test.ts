import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { afterAll, describe, expect, test } from 'vitest';
import { exportPkcs8, KEY_ALGORITHMS, type KeyAlgorithm } from '../keys/index.ts';
import { keyOf, makeAuthority, makeLeaf } from './craft.test-helper.ts';
import { certificateToPem } from './pem.ts';
import { createPkcs12 } from './pkcs12.ts';

const ALGORITHMS = Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[];
const PASSWORD = 'changeit ~!"$%&/()=?';
const root = makeAuthority(undefined, { name: 'root' });
const child = makeAuthority(root, { name: 'child' });

function fileOf(algorithm: KeyAlgorithm, password = PASSWORD): Buffer {
  const leaf = makeLeaf(child, { keyAlgorithm: algorithm });
  return createPkcs12({
    key: keyOf('leaf', algorithm),
    chain: [leaf.der, child.der],
    friendlyName: 'api',
    password,
    authorities: [root.der],
  });
}

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('There is no openssl on this machine: what it says of PKCS#12 files is not tested.');
    return false;
  }
})();
const folder = mkdtempSync(join(tmpdir(), 'interlock-pkcs12-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a PKCS#12 file', () => {
  // The system's OpenSSL may be 3.0, which knows no ML-DSA; Node's own is asked below.
  test.skipIf(!hasOpenssl).each(ALGORITHMS.filter((algorithm) => algorithm !== 'ml-dsa-65'))(
    'of a %s key is opened by openssl: key, certificates and names',
    (algorithm) => {
      const file = join(folder, 'key.p12');
      writeFileSync(file, fileOf(algorithm));
      const text = execFileSync('openssl', ['pkcs12', '-in', file, '-passin', `pass:${PASSWORD}`, '-nodes'], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
      for (const der of [child.der, root.der]) expect(text).toContain(certificateToPem(der));
      expect(text).toContain('friendlyName: api');
      const key = /-----BEGIN PRIVATE KEY-----[^]*?-----END PRIVATE KEY-----\n/.exec(text)?.[0] ?? '';
      expect(exportPkcs8(createPrivateKey(key))).toEqual(exportPkcs8(keyOf('leaf', algorithm)));
    },
  );

  test.each(ALGORITHMS)('of a %s key is opened by Node for TLS, with its password only', (algorithm) => {
    const pfx = fileOf(algorithm);
    expect(() => createSecureContext({ pfx, passphrase: PASSWORD })).not.toThrow();
    expect(() => createSecureContext({ pfx, passphrase: 'wrong' })).toThrow(/mac verify failure/i);
  });

  test('may have an empty password, and none that programs encode differently', () => {
    expect(() => createSecureContext({ pfx: fileOf('ec-p256', ''), passphrase: '' })).not.toThrow();
    expect(() => fileOf('ec-p256', 'pässword')).toThrow('printable ASCII');
  });

  test('shows nothing of the key', () => {
    const plain = exportPkcs8(keyOf('leaf'));
    expect(fileOf('ec-p256').includes(plain.subarray(36, 68))).toBe(false);
  });

  test('needs a certificate', () => {
    expect(() => createPkcs12({ key: keyOf('leaf'), chain: [], friendlyName: 'api', password: 'x' })).toThrow(
      TypeError,
    );
  });
});
