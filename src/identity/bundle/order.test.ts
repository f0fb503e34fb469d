import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bundleWith, jwtKey, rootOf } from './authorities.test-helper.ts';
import { type Bundle, joinBundles, newerBundle, sameBundle, withoutAuthorities } from './index.ts';

const ROOTS = [rootOf('example.org').der, rootOf('example.org').der];
const [ROOT = Buffer.alloc(0), OTHER = Buffer.alloc(0)] = ROOTS;
const KEYS = [jwtKey('a'), jwtKey('b', 'RSA')].map(({ authority }) => authority);

describe('which of two bundles is held', () => {
  const older = bundleWith({ x509Authorities: [ROOT], sequence: 4 });
  test.each([
    ['the first there is', undefined, older, 'offered'],
    ['a higher sequence', older, { ...older, sequence: 5 }, 'offered'],
    ['a lower sequence', older, { ...older, x509Authorities: [OTHER], sequence: 3 }, 'held'],
    ['the same sequence with other authorities', older, { ...older, x509Authorities: [OTHER] }, 'offered'],
    ['the same sequence with no authority', older, { ...older, x509Authorities: [] }, 'offered'],
    ['no sequence after one', older, bundleWith({ x509Authorities: [OTHER] }), 'offered'],
    ['a sequence after none', bundleWith({ x509Authorities: [OTHER] }), older, 'offered'],
    ['the same once more', older, { ...older, x509Authorities: [Buffer.from(ROOT)] }, 'held'],
  ] as const)('%s: the %4$s', (_what, held, offered, expected) => {
    expect(newerBundle(held, offered)).toBe(expected === 'held' ? held : offered);
  });

  test('bundles of two trust domains never replace each other', () => {
    expect(() => newerBundle(older, { ...older, trustDomain: 'other.example' })).toThrow(
      'the bundle of other.example cannot take the place of the one of example.org',
    );
  });

  test('a sequence never goes backwards, whatever is offered', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1 }), (sequences) => {
        let held: Bundle | undefined;
        let last = -1;
        for (const sequence of sequences) {
          held = newerBundle(held, bundleWith({ sequence }));
          expect(held.sequence).toBeGreaterThanOrEqual(last);
          last = held.sequence ?? -1;
        }
        expect(last).toBe(Math.max(...sequences));
      }),
    );
  });

  test('the order of authorities makes no difference', () => {
    const one = bundleWith({ x509Authorities: ROOTS, jwtAuthorities: KEYS });
    const two = bundleWith({ x509Authorities: ROOTS.toReversed(), jwtAuthorities: KEYS.toReversed() });
    expect(sameBundle(one, two)).toBe(true);
    expect(sameBundle(one, { ...two, jwtAuthorities: KEYS.slice(1) })).toBe(false);
    expect(sameBundle(one, { ...two, refreshHint: 1 })).toBe(false);
  });
});

describe('bundles of one trust domain from several control planes', () => {
  const whole = bundleWith({ x509Authorities: ROOTS, jwtAuthorities: KEYS });
  const one = bundleWith({ x509Authorities: [ROOT], jwtAuthorities: KEYS.slice(0, 1) });

  test('hold each authority once, and can be taken apart again', () => {
    const { trustDomain } = whole;
    const both = joinBundles(trustDomain, [one, whole, one]);
    expect(both.x509Authorities).toEqual(ROOTS);
    expect(both.jwtAuthorities).toEqual(KEYS);
    const rest = withoutAuthorities(both, one);
    expect(rest.x509Authorities).toEqual([OTHER]);
    expect(rest.jwtAuthorities).toEqual(KEYS.slice(1));
    expect(withoutAuthorities(both, undefined)).toBe(both);
    expect(joinBundles(trustDomain, []).x509Authorities).toEqual([]);
  });

  test('are never of two domains', () => {
    const other = { ...whole, trustDomain: 'other.example' };
    expect(() => joinBundles(whole.trustDomain, [whole, other])).toThrow('says nothing of');
  });
});
