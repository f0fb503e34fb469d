import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bitString, element, integer, OID, octetString, oid, sequence, time } from '../der/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, signerOf } from '../keys/index.ts';
import { parseCertificate } from './certificate.ts';
import { HOUR, keyOf, keyUsage, makeAuthority, makeLeaf, NOW, type Party } from './craft.test-helper.ts';
import { type Crl, CRL_REASONS, createCrl, parseCrl, type RevokedCertificate } from './crl.ts';
import { KEY_USAGE } from './extensions.ts';
import { CertificateError } from './fault.ts';
import * as peculiar from './peculiar.test-helper.ts';
import { certificateToPem, pem } from './pem.ts';
import { verifyX509Svid } from './verify.ts';

const root = makeAuthority(undefined, { name: 'root' });
const child = makeAuthority(root, { name: 'child', serial: integer(77) });
const leaf = makeLeaf(child, { serial: integer(0x80) });

function listOf(party: Party, revoked: readonly RevokedCertificate[], nextUpdate = NOW + HOUR): Buffer {
  const certificate = parseCertificate(party.der);
  return createCrl({ certificate, signer: party.signer, revoked, number: 5, thisUpdate: NOW, nextUpdate });
}

function revokedBy(...crls: (Buffer | Crl)[]): { fault: string; ignored: number } {
  const bundles = new Map([['example.org', { x509Authorities: [root.der] }]]);
  try {
    const { ignoredCrls } = verifyX509Svid([leaf.der, child.der], { bundles, now: NOW, crls });
    return { fault: 'none', ignored: ignoredCrls };
  } catch (error) {
    if (error instanceof CertificateError) return { fault: error.fault, ignored: 0 };
    throw error;
  }
}

const LEAF = { serial: '80', at: NOW - 1000, reason: 'keyCompromise' } as const;
const OTHER = { serial: '81', at: NOW - 1000, reason: 'superseded' } as const;

describe('a revocation list', () => {
  test.each(Object.keys(CRL_REASONS) as (keyof typeof CRL_REASONS)[])(
    'with the reason %s is read back',
    (reason) => {
      const read = parseCrl(listOf(child, [{ ...LEAF, reason }]));
      expect(read.revoked.get('80')).toEqual({ ...LEAF, reason });
      expect(read).toMatchObject({
        issuer: 'CN=child',
        number: '05',
        thisUpdate: NOW,
        nextUpdate: NOW + HOUR,
      });
    },
  );

  test('takes a serial number in any length of hex', () => {
    const serials = ['80', '0080', '000080', '00', '7f'.repeat(20)];
    const read = parseCrl(
      listOf(
        child,
        serials.map((serial) => ({ ...LEAF, serial })),
      ),
    );
    expect([...read.revoked.keys()]).toEqual(['80', '00', '7f'.repeat(20)]);
    for (const serial of ['', 'xy', '123', 'ff'.repeat(21)])
      expect(() => listOf(child, [{ ...LEAF, serial }])).toThrow('no serial number');
  });

  test('without entries has no list of them', () => {
    expect(parseCrl(listOf(child, [])).revoked.size).toBe(0);
  });

  test('of 20,000 certificates is read back', () => {
    const many = Array.from({ length: 20_000 }, (_, i) => ({
      ...OTHER,
      serial: (i + 0x10_0000).toString(16),
    }));
    expect(parseCrl(listOf(child, many)).revoked.size).toBe(20_000);
  });

  test("is not signed by another key than the authority's", () => {
    const certificate = parseCertificate(child.der);
    const options = { revoked: [], number: 1, thisUpdate: NOW, nextUpdate: NOW + HOUR };
    expect(() => createCrl({ ...options, certificate, signer: root.signer })).toThrow(
      'not that of the issuer',
    );
  });

  test('is what @peculiar/x509 reads', () => {
    const read = new peculiar.X509Crl(new Uint8Array(listOf(child, [LEAF, OTHER])));
    expect(read.issuer).toBe('CN=child');
    expect(read.entries.map(({ serialNumber, reason }) => [serialNumber, reason])).toEqual([
      ['80', CRL_REASONS.keyCompromise],
      ['81', CRL_REASONS.superseded],
    ]);
  });
});

describe('verifying with revocation lists', () => {
  const ofChild = listOf(child, [LEAF]);
  test.each<readonly [string, (Buffer | Crl)[], string, number]>([
    ['none', [], 'none', 0],
    ['one that names the leaf', [ofChild], 'revoked', 0],
    ['the same, parsed', [parseCrl(ofChild)], 'revoked', 0],
    ['one that names another', [listOf(child, [OTHER])], 'none', 0],
    ['one past its nextUpdate that names the leaf', [listOf(child, [LEAF], NOW - HOUR)], 'revoked', 0],
    ['one past its nextUpdate that names another', [listOf(child, [OTHER], NOW - HOUR)], 'none', 0],
    ["one of the root that names the leaf's serial number", [listOf(root, [LEAF])], 'none', 0],
    [
      'one of the root that names the intermediate',
      [listOf(root, [{ ...LEAF, serial: '4d' }])],
      'revoked',
      0,
    ],
    ['one that is none, and one that names the leaf', [Buffer.from('none'), ofChild], 'revoked', 0],
    ['one that is none', [Buffer.from('none')], 'none', 1],
    ['one signed by another key under the name', [resigned(ofChild, 'stranger')], 'none', 1],
  ])('%s', (_, crls, fault, ignored) => {
    expect(revokedBy(...crls)).toEqual({ fault, ignored });
    expect(revokedBy(...crls)).toEqual({ fault, ignored });
  });

  test('an authority whose keyUsage has no cRLSign revokes nothing', () => {
    const mute = makeAuthority(root, {
      name: 'child',
      extensions: { keyUsage: keyUsage(KEY_USAGE.keyCertSign) },
    });
    const bundles = new Map([['example.org', { x509Authorities: [root.der] }]]);
    const verified = verifyX509Svid([leaf.der, mute.der], { bundles, now: NOW, crls: [ofChild] });
    expect(verified.ignoredCrls).toBe(1);
  });

  test.each(Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[])('signed by %s', (algorithm) => {
    const top = makeAuthority(undefined, { name: 'top', keyAlgorithm: algorithm });
    const below = makeLeaf(top);
    const bundles = new Map([['example.org', { x509Authorities: [top.der] }]]);
    const verify = (serial: string) =>
      verifyX509Svid([below.der], { bundles, now: NOW, crls: [listOf(top, [{ ...LEAF, serial }])] });
    expect(verify('02').ignoredCrls).toBe(0);
    expect(() => verify(parseCertificate(below.der).serial)).toThrow(
      'was revoked at 2026-11-21T11:59:59.000Z',
    );
  });
});

/** The list's content, signed by somebody else. */
function resigned(der: Buffer, name: string): Buffer {
  const { tbs } = parseCrl(der);
  const { signatureAlgorithm } = KEY_ALGORITHMS['ec-p256'];
  return sequence(tbs, signatureAlgorithm, bitString(signerOf(keyOf(name)).sign(tbs)));
}

describe('what is no list that is understood here', () => {
  const { signatureAlgorithm } = KEY_ALGORITHMS['ec-p256'];
  const listWith = (...after: Buffer[]) => {
    const tbs = sequence(integer(1), signatureAlgorithm, child.name, time(NOW), time(NOW + HOUR), ...after);
    return sequence(tbs, signatureAlgorithm, bitString(child.signer.sign(tbs)));
  };
  const critical = (dotted: string, value: Buffer) =>
    sequence(oid(dotted), element(0x01, Buffer.from([0xff])), octetString(value));
  const entry = (...extensions: Buffer[]) =>
    sequence(sequence(integer(1), time(NOW), sequence(...extensions)));

  test.each([
    ['a delta', listWith(element(0xa0, sequence(critical('2.5.29.27', integer(1)))))],
    [
      'a list of a part of the certificates',
      listWith(element(0xa0, sequence(critical('2.5.29.28', sequence())))),
    ],
    ['an entry of another issuer', listWith(entry(critical('2.5.29.29', sequence())))],
    [
      'an entry with a reason twice',
      listWith(entry(critical(OID.reasonCode, integer(1, 0x0a)), critical(OID.reasonCode, integer(1, 0x0a)))),
    ],
    ['a list with a byte behind it', Buffer.concat([listWith(), Buffer.alloc(1)])],
    ['a certificate', leaf.der],
  ])('%s is refused', (_, der) => {
    expect(() => parseCrl(der)).toThrow('malformed');
  });
});

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('There is no openssl on this machine: what it says of revocation lists is not tested.');
    return false;
  }
})();

test.skipIf(!hasOpenssl)('openssl verify refuses what a list revokes, and nothing else', () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-crl-'));
  try {
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const verify = (revoked: readonly RevokedCertificate[]) => {
      const crls = file(
        'crl.pem',
        pem('X509 CRL', listOf(child, revoked)) + pem('X509 CRL', listOf(root, [])),
      );
      const args = ['verify', '-crl_check_all', '-attime', String(NOW / 1000), '-CRLfile', crls];
      const files = [
        file('root.pem', certificateToPem(root.der)),
        file('child.pem', certificateToPem(child.der)),
      ];
      const [top = '', middle = ''] = files;
      const bottom = file('leaf.pem', certificateToPem(leaf.der));
      return execFileSync('openssl', [...args, '-CAfile', top, '-untrusted', middle, bottom], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
    };
    expect(verify([OTHER])).toMatch(/: OK\n$/);
    expect(() => verify([LEAF])).toThrow('certificate revoked');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
