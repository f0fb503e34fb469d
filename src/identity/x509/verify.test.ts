import { describe, expect, test } from 'vitest';
import { integer, octetString, time } from '../der/index.ts';
import { HOUR, makeAuthority, makeLeaf, NOW } from './craft.test-helper.ts';
import { encodeName } from './name.ts';
import { extension } from './sign.ts';
import { bundleOf, BUNDLES, faultOf, names, root, verify } from './chains.test-helper.ts';

describe('a chain', () => {
  test('of nothing is refused', () => {
    expect(faultOf(() => verify([]))).toBe('empty_chain');
  });

  test('of more than 8 certificates is refused before one is read', () => {
    expect(faultOf(() => verify(Array.from({ length: 9 }, () => Buffer.alloc(1))))).toBe('chain_too_long');
  });

  test('with a certificate of more than 64 KiB is refused', () => {
    const leaf = makeLeaf(root, {
      extensions: { x: extension('2.5.29.54', false, octetString(Buffer.alloc(65_536))) },
    });
    expect(faultOf(() => verify([leaf.der]))).toBe('malformed');
  });

  test('with a byte behind a certificate is refused', () => {
    expect(faultOf(() => verify([Buffer.concat([makeLeaf(root).der, Buffer.alloc(1)])]))).toBe('malformed');
  });

  test('that is one self-signed leaf is refused, also where the bundle holds it', () => {
    const own = makeLeaf(makeLeaf(root));
    expect(faultOf(() => verify([own.der], { bundles: bundleOf(own.der) }))).toBe('not_an_authority');
  });

  test('of authorities that issued each other ends', () => {
    const a = makeAuthority(undefined, { name: 'a' });
    const b = makeAuthority(a, { name: 'b' });
    const aByB = makeAuthority(b, { name: 'a' });
    expect(faultOf(() => verify([makeLeaf(a).der, a.der, b.der, aByB.der]))).toBe('unknown_authority');
  });

  test('of authorities with one name and many keys ends after a bounded number of signatures', () => {
    const twins = Array.from({ length: 7 }, (_, i) =>
      makeAuthority(undefined, { name: 'twin', keyName: `twin ${i}`, extensions: { ski: undefined } }),
    );
    const [first] = twins;
    if (first === undefined) throw new Error('there are seven');
    const leaf = makeLeaf(first, { extensions: { aki: undefined } });
    expect(faultOf(() => verify([leaf.der, ...twins.map(({ der }) => der)]))).toBe('signature');
  });

  test('leads to the second of two roots of one name', () => {
    const older = makeAuthority(undefined, {
      name: 'root',
      keyName: 'older',
      extensions: { ski: undefined },
    });
    const leaf = makeLeaf(root, { extensions: { aki: undefined } });
    expect(verify([leaf.der], { bundles: bundleOf(older.der, root.der) }).authority.der).toEqual(root.der);
  });

  test('leads to a root whose certificate was renewed with the same key', () => {
    const renewed = makeAuthority(undefined, {
      name: 'root',
      notAfter: time(NOW + 2 * HOUR),
      serial: integer(1),
    });
    const expired = makeAuthority(undefined, { name: 'root', notAfter: time(NOW - HOUR / 2) });
    const chain = [makeLeaf(root).der];
    expect(faultOf(() => verify(chain, { bundles: bundleOf(expired.der, renewed.der) }))).toBe('none');
    expect(faultOf(() => verify(chain, { bundles: bundleOf(expired.der) }))).toBe('expired');
  });

  test('of one trust domain is not proved by the authorities of another', () => {
    const leaf = makeLeaf(root, names('spiffe://other.org/a'));
    const stranger = makeAuthority(undefined, { name: 'stranger' });
    const bundles = new Map([...BUNDLES, ['other.org', { x509Authorities: [stranger.der] }]]);
    expect(faultOf(() => verify([leaf.der], { bundles }))).toBe('unknown_authority');
  });

  test('of a trust domain whose bundle is empty, or unreadable, is refused', () => {
    const chain = [makeLeaf(root).der];
    expect(faultOf(() => verify(chain, { bundles: bundleOf() }))).toBe('no_bundle');
    expect(faultOf(() => verify(chain, { bundles: bundleOf(Buffer.from('no certificate')) }))).toBe(
      'no_bundle',
    );
  });

  test('leads to a root that has neither an ID nor a as old ones have', () => {
    const old = makeAuthority(undefined, {
      name: 'root',
      extensions: { names: undefined, keyUsage: undefined },
    });
    expect(faultOf(() => verify([makeLeaf(root).der], { bundles: bundleOf(old.der) }))).toBe('none');
  });

  test('leads to no root whose ID has a path, and to one that another trust domain shares', () => {
    const odd = makeAuthority(undefined, { name: 'root', ...names('spiffe://example.org/root') });
    const shared = makeAuthority(undefined, { name: 'root', ...names('spiffe://upstream.org') });
    const chain = [makeLeaf(root).der];
    expect(faultOf(() => verify(chain, { bundles: bundleOf(odd.der) }))).toBe('spiffe_id_path');
    expect(faultOf(() => verify(chain, { bundles: bundleOf(shared.der) }))).toBe('none');
  });

  test('is verified at no time that is no number', () => {
    for (const now of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => verify([makeLeaf(root).der], { now })).toThrow(RangeError);
  });

  test('of a long name is refused in a short message', () => {
    const long = encodeName([['commonName', 'x'.repeat(5000)]]);
    const leaf = makeLeaf(root, { subjectName: long, extensions: { names: undefined } });
    expect(() => verify([leaf.der])).toThrow(/^.{1,250}$/);
  });

  test('says who, why and when', () => {
    const leaf = makeLeaf(root, { notAfter: time(NOW - 1000) });
    expect(() => verify([leaf.der])).toThrow(
      'the certificate of "spiffe://example.org/area/payments/api" is refused: it expired at 2026-11-21T11:59:59.000Z; it is 2026-11-21T12:00:00.000Z',
    );
  });

  test.each(['ec-p384', 'ed25519', 'ml-dsa-65'] as const)('of %s keys is verified', (algorithm) => {
    const top = makeAuthority(undefined, { name: 'top', keyAlgorithm: algorithm });
    const middle = makeAuthority(top, { name: 'middle', keyAlgorithm: algorithm });
    const leaf = makeLeaf(middle, { keyAlgorithm: algorithm });
    const bundles = bundleOf(top.der);
    expect(faultOf(() => verify([leaf.der, middle.der], { bundles }))).toBe('none');
    const forged = Buffer.from(leaf.der);
    const last = forged.length - 1;
    forged[last] = (forged[last] as number) ^ 1;
    expect(faultOf(() => verify([forged, middle.der], { bundles }))).toBe('signature');
  });
});

describe('an ID that is revoked as such', () => {
  test('is refused with a sound chain', () => {
    const chain = [makeLeaf(root).der];
    const revokedIds = new Set(['spiffe://example.org/area/payments/api']);
    expect(faultOf(() => verify(chain, { revokedIds }))).toBe('revoked');
    expect(faultOf(() => verify(chain, { revokedIds: new Set(['spiffe://example.org/area']) }))).toBe('none');
  });
});
