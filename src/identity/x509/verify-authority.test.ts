import { describe, expect, test } from 'vitest';
import { element, OID, octetString, sequence, time } from '../der/index.ts';
import { keyIdOf, signerOf } from '../keys/index.ts';
import {
  authority,
  type Differences,
  extendedKeyUsage,
  keyOf,
  keyUsage,
  makeAuthority,
  makeLeaf,
  NOW,
  prefixes,
} from './craft.test-helper.ts';
import { KEY_USAGE } from './extensions.ts';
import { type X509Fault } from './fault.ts';
import { extension } from './sign.ts';
import {
  bundleOf,
  child,
  faultOf,
  grandchild,
  names,
  root,
  unknownCritical,
  verify,
} from './chains.test-helper.ts';

describe('an intermediate', () => {
  const cases: readonly (readonly [what: string, differences: Differences, expected: X509Fault | 'none'])[] =
    [
      ['sound', {}, 'none'],
      ['without an ID', { extensions: { names: undefined } }, 'none'],
      ['for TLS', { extensions: { usage: extendedKeyUsage(OID.serverAuth, OID.clientAuth) } }, 'none'],
      ['for anything', { extensions: { usage: extendedKeyUsage(OID.anyExtendedKeyUsage) } }, 'none'],
      ['for mail only', { extensions: { usage: extendedKeyUsage('1.3.6.1.5.5.7.3.4') } }, 'outside_issuer'],
      [
        'with cA false',
        { extensions: { constraints: extension(OID.basicConstraints, true, sequence()) } },
        'not_an_authority',
      ],
      ['without basicConstraints', { extensions: { constraints: undefined } }, 'not_an_authority'],
      ['without keyUsage', { extensions: { keyUsage: undefined } }, 'not_an_authority'],
      [
        'without keyCertSign',
        { extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature) } },
        'not_an_authority',
      ],
      [
        'whose keyUsage is not critical',
        { extensions: { keyUsage: keyUsage(KEY_USAGE.keyCertSign, false) } },
        'not_an_authority',
      ],
      ['of version 1', { version: undefined, extensions: undefined }, 'version'],
      ['with an ID with a path', names('spiffe://example.org/area/payments'), 'spiffe_id_path'],
      ['of another trust domain', names('spiffe://other.org'), 'trust_domain'],
      ['with two IDs', names('spiffe://example.org', 'spiffe://other.org'), 'one_uri'],
      ['with a URI that is no ID', names('https://example.org'), 'spiffe_id'],
      ['expired', { notAfter: time(NOW - 1000) }, 'expired'],
      ['not yet valid', { notBefore: time(NOW + 1000) }, 'not_yet_valid'],
      [
        'with an unknown critical extension',
        { extensions: { x: unknownCritical } },
        'unknown_critical_extension',
      ],
      [
        'with empty name constraints',
        { extensions: { x: extension(OID.nameConstraints, true, sequence()) } },
        'malformed',
      ],
      ['signed by another key', { signer: signerOf(keyOf('stranger')) }, 'signature'],
      ['with a path prefix around the ID', { extensions: { prefixes: prefixes('/area/payments/') } }, 'none'],
      [
        'with several path prefixes, one around the ID',
        { extensions: { prefixes: prefixes('/x/', '/area/') } },
        'none',
      ],
      [
        'with a path prefix beside the ID',
        { extensions: { prefixes: prefixes('/area/billing/') } },
        'outside_prefixes',
      ],
      [
        'with a path prefix that is the ID itself',
        { extensions: { prefixes: prefixes('/area/payments/api/') } },
        'outside_prefixes',
      ],
      ['with no path prefix at all', { extensions: { prefixes: prefixes() } }, 'outside_prefixes'],
      [
        'with a path prefix without its slash',
        { extensions: { prefixes: prefixes('/area/pay') } },
        'malformed',
      ],
      ['with a path prefix with dots', { extensions: { prefixes: prefixes('/area/../') } }, 'malformed'],
      [
        'with path prefixes twice',
        { extensions: { prefixes: prefixes('/area/'), more: prefixes('/') } },
        'malformed',
      ],
      [
        'with critical path prefixes, which are read the same',
        {
          extensions: {
            prefixes: extension(OID.pathPrefixes, true, sequence(element(0x0c, Buffer.from('/b/')))),
          },
        },
        'outside_prefixes',
      ],
    ];
  test.each(cases.map(([what, differences, expected]) => [what, expected, differences] as const))(
    '%s: %s',
    (_, expected, differences) => {
      const intermediate = makeAuthority(root, { name: 'child', ...differences });
      const leaf = makeLeaf(child);
      expect(faultOf(() => verify([leaf.der, intermediate.der]))).toBe(expected);
    },
  );

  test('that is missing leaves no path', () => {
    expect(faultOf(() => verify([makeLeaf(child).der]))).toBe('unknown_authority');
  });

  test('may have the others around it in any order, and some that belong to nothing', () => {
    const leaf = makeLeaf(grandchild);
    const other = makeAuthority(root, { name: 'other' });
    const { chain } = verify([leaf.der, other.der, root.der, child.der, grandchild.der]);
    expect(chain.map(({ der }) => der)).toEqual([leaf.der, grandchild.der, child.der]);
  });
});

describe('path lengths', () => {
  const limited = (pathLength: number) => ({ extensions: { constraints: authority(pathLength) } });
  test.each([
    ['root 0, no intermediate', makeAuthority(undefined, { name: 'root', ...limited(0) }), [], 'none'],
    [
      'root 0, one intermediate',
      makeAuthority(undefined, { name: 'root', ...limited(0) }),
      [child],
      'path_length',
    ],
    ['root 1, one intermediate', makeAuthority(undefined, { name: 'root', ...limited(1) }), [child], 'none'],
    [
      'root 1, two intermediates',
      makeAuthority(undefined, { name: 'root', ...limited(1) }),
      [grandchild, child],
      'path_length',
    ],
    [
      'root 2, two intermediates',
      makeAuthority(undefined, { name: 'root', ...limited(2) }),
      [grandchild, child],
      'none',
    ],
    [
      'child 0, one below it',
      root,
      [grandchild, makeAuthority(root, { name: 'child', ...limited(0) })],
      'path_length',
    ],
    [
      'child 1, one below it',
      root,
      [grandchild, makeAuthority(root, { name: 'child', ...limited(1) })],
      'none',
    ],
  ] as const)('%s', (_, top, intermediates, expected) => {
    const leaf = makeLeaf(intermediates[0] ?? root);
    const chain = [leaf.der, ...intermediates.map(({ der }) => der)];
    expect(faultOf(() => verify(chain, { bundles: bundleOf(top.der) }))).toBe(expected);
  });

  test('count an authority that names itself as its issuer', () => {
    const top = makeAuthority(undefined, { name: 'root', ...limited(0) });
    const again = makeAuthority(top, {
      name: 'root',
      keyName: 'again',
      extensions: { constraints: authority() },
    });
    const leaf = makeLeaf(again);
    expect(faultOf(() => verify([leaf.der, again.der], { bundles: bundleOf(top.der) }))).toBe('path_length');
  });
});

describe('path prefixes down a tree', () => {
  const area = makeAuthority(root, { name: 'child', extensions: { prefixes: prefixes('/area/') } });
  const below = (...list: readonly string[]) =>
    makeAuthority(area, { name: 'grandchild', extensions: { prefixes: prefixes(...list) } });

  test('hold where each lies inside the one above it', () => {
    const inner = below('/area/payments/');
    expect(faultOf(() => verify([makeLeaf(inner).der, inner.der, area.der]))).toBe('none');
  });

  test('are refused where a lower one is wider, even for an ID inside both', () => {
    const inner = below('/area/payments/', '/b/');
    expect(faultOf(() => verify([makeLeaf(inner).der, inner.der, area.der]))).toBe('outside_issuer');
  });

  test('bind an authority below that has none of its own', () => {
    const leaf = makeLeaf(grandchild, names('spiffe://example.org/b/api'));
    const plain = makeAuthority(area, { name: 'grandchild' });
    expect(faultOf(() => verify([makeLeaf(plain).der, plain.der, area.der]))).toBe('none');
    expect(faultOf(() => verify([leaf.der, plain.der, area.der]))).toBe('outside_prefixes');
  });

  test('bind an authority that stands in the bundle itself', () => {
    const leaf = makeLeaf(child, names('spiffe://example.org/b/api'));
    expect(faultOf(() => verify([leaf.der], { bundles: bundleOf(area.der) }))).toBe('outside_prefixes');
  });

  test("hold by the verifier's own map for an authority whose certificate says nothing", () => {
    const leaf = makeLeaf(child);
    const id = keyIdOf(child.signer.spki);
    const with_ = (...list: readonly string[]) =>
      faultOf(() => verify([leaf.der, child.der], { scopes: new Map([[id, list]]) }));
    expect(with_('/area/payments/')).toBe('none');
    expect(with_('/area/billing/')).toBe('outside_prefixes');
    expect(with_()).toBe('outside_prefixes');
  });

  test("hold by the verifier's map also where the certificate states another key identifier", () => {
    const ski = extension(OID.subjectKeyIdentifier, false, octetString(Buffer.alloc(20, 7)));
    const hidden = makeAuthority(root, { name: 'child', extensions: { ski } });
    const leaf = makeLeaf(child, { extensions: { aki: undefined } });
    const scopes = new Map([[keyIdOf(child.signer.spki), ['/area/billing/']]]);
    expect(faultOf(() => verify([leaf.der, hidden.der], { scopes }))).toBe('outside_prefixes');
  });

  test('and the map both hold where both are there', () => {
    const scopes = new Map([[keyIdOf(child.signer.spki), ['/area/payments/api/']]]);
    expect(faultOf(() => verify([makeLeaf(area).der, area.der], { scopes }))).toBe('outside_prefixes');
  });
});
