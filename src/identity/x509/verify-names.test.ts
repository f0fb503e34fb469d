import { describe, expect, test } from 'vitest';
import { element, OID, sequence } from '../der/index.ts';
import { bundleOf, child, faultOf, grandchild, root, verify } from './chains.test-helper.ts';
import { alternativeNames, makeAuthority, makeLeaf } from './craft.test-helper.ts';
import type { X509Fault } from './fault.ts';
import { extension } from './sign.ts';

describe('name constraints', () => {
  const uri = (text: string) => sequence(element(0x86, Buffer.from(text)));
  const dns = (text: string) => sequence(element(0x82, Buffer.from(text)));
  const address = sequence(element(0x87, Buffer.alloc(8)));
  const permitted = (...list: readonly Buffer[]) => element(0xa0, ...list);
  const excluded = (...list: readonly Buffer[]) => element(0xa1, ...list);
  const leafNames = (dnsName: string) =>
    alternativeNames(
      element(0x86, Buffer.from('spiffe://example.org/a')),
      element(0x82, Buffer.from(dnsName)),
    );
  const made = (critical: boolean, ...lists: readonly Buffer[]) => ({
    extensions: { limits: extension(OID.nameConstraints, critical, sequence(...lists)) },
  });
  const underRoot = (lists: readonly Buffer[], dnsName = 'api.shop.example.org') => {
    const top = makeAuthority(undefined, { name: 'root', ...made(true, ...lists) });
    const leaf = makeLeaf(root, { extensions: { names: leafNames(dnsName) } });
    return faultOf(() => verify([leaf.der], { bundles: bundleOf(top.der) }));
  };

  const least = sequence(element(0x86, Buffer.from('example.org')), element(0x80, Buffer.from([1])));
  test.each<readonly [what: string, expected: X509Fault | 'none', lists: readonly Buffer[]]>([
    ['its trust domain permitted', 'none', [permitted(uri('example.org'))]],
    ['its trust domain permitted among others', 'none', [permitted(uri('other.org'), uri('EXAMPLE.ORG'))]],
    ['another trust domain permitted', 'name_constraints', [permitted(uri('other.org'))]],
    ['only what is below its trust domain permitted', 'name_constraints', [permitted(uri('.example.org'))]],
    ['what is below org permitted', 'none', [permitted(uri('.org'))]],
    ['its trust domain excluded', 'name_constraints', [excluded(uri('example.org'))]],
    ['another trust domain excluded', 'none', [excluded(uri('other.org'))]],
    ['it permitted and excluded', 'name_constraints', [permitted(uri('example.org')), excluded(uri('.org'))]],
    ['its DNS name permitted', 'none', [permitted(dns('example.org'))]],
    ['its DNS name itself permitted', 'none', [permitted(dns('api.shop.example.org'))]],
    ['a name that only ends alike permitted', 'name_constraints', [permitted(dns('ample.org'))]],
    ['another DNS name permitted', 'name_constraints', [permitted(dns('other.org'))]],
    ['its DNS name excluded', 'name_constraints', [excluded(dns('shop.example.org'))]],
    ['what is below its DNS name excluded', 'none', [excluded(dns('x.api.shop.example.org'))]],
    [
      'addresses constrained, which are not read',
      'unknown_critical_extension',
      [permitted(uri('example.org'), address)],
    ],
    // What cannot be read in a bundle is not trusted.
    ['nothing in them', 'no_bundle', []],
    ['an empty list in them', 'no_bundle', [permitted()]],
    ['a least depth', 'no_bundle', [permitted(least)]],
    ['an empty name', 'no_bundle', [excluded(uri(''))]],
  ])('of a root with %s: %s', (_, expected, lists) => {
    expect(underRoot(lists)).toBe(expected);
  });

  test('hold for a wildcard, which may stand for a name that is excluded', () => {
    expect(underRoot([excluded(dns('secret.example.org'))], '*.example.org')).toBe('name_constraints');
    expect(underRoot([excluded(dns('secret.other.org'))], '*.example.org')).toBe('none');
    expect(underRoot([permitted(dns('api.example.org'))], '*.example.org')).toBe('name_constraints');
    expect(underRoot([permitted(dns('example.org'))], '*.example.org')).toBe('none');
  });

  test('hold through several levels, for intermediates, and when they are not critical', () => {
    const top = makeAuthority(undefined, { name: 'root', ...made(false, permitted(uri('.example.org'))) });
    const chain = [makeLeaf(grandchild).der, grandchild.der, child.der];
    expect(faultOf(() => verify(chain, { bundles: bundleOf(top.der) }))).toBe('name_constraints');
    const middle = makeAuthority(root, { name: 'child', ...made(true, excluded(uri('example.org'))) });
    const below = [makeLeaf(grandchild).der, grandchild.der, middle.der];
    expect(faultOf(() => verify(below))).toBe('name_constraints');
  });
});
