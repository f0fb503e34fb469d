import { describe, expect, test } from 'vitest';
import { InterlockError } from './error.ts';
import {
  kubernetesNameOf,
  MAX_SPIFFE_ID_BYTES,
  parseSpiffeId,
  pathOf,
  shortNameOf,
  spiffeIdOf,
  trustDomainOf,
} from './spiffe-id.ts';

describe('SPIFFE IDs', () => {
  test.each([
    'spiffe://example.org',
    'spiffe://example.org/a',
    'spiffe://example.org/ns/default/sa/web-1',
    'spiffe://a_b.c-d/A.z_9-/x',
    `spiffe://${'a'.repeat(255)}/x`,
    `spiffe://d/${'a'.repeat(MAX_SPIFFE_ID_BYTES - 11)}`,
  ])('%s is one', (text) => {
    expect(parseSpiffeId(text)).toBe(text);
    expect(spiffeIdOf(text)).toBe(text);
  });

  test.each([
    ['', 'does not start'],
    ['https://example.org/a', 'does not start'],
    ['SPIFFE://example.org/a', 'does not start'],
    ['spiffe://', 'trust domain is missing'],
    ['spiffe:///a', 'trust domain is missing'],
    ['spiffe://Example.org/a', 'lower-case'],
    ['spiffe://example.org:443/a', 'lower-case'],
    ['spiffe://u@example.org/a', 'lower-case'],
    [`spiffe://${'a'.repeat(256)}/x`, 'at most 255'],
    ['spiffe://example.org/', 'trailing'],
    ['spiffe://example.org/a/', 'trailing'],
    ['spiffe://example.org//a', 'empty segment'],
    ['spiffe://example.org/./a', '".."'],
    ['spiffe://example.org/a/..', '".."'],
    ['spiffe://example.org/a%20b', 'character'],
    ['spiffe://example.org/a?b', 'character'],
    ['spiffe://example.org/a#b', 'character'],
    ['spiffe://example.org/ä', 'character'],
    ['spiffe://example.org/a\u0000', 'character'],
    ['spiffe://example.org?x', 'lower-case'],
    [`spiffe://d/${'a'.repeat(MAX_SPIFFE_ID_BYTES)}`, 'longer than'],
  ])('%j is none', (text, reason) => {
    expect(() => parseSpiffeId(text)).toThrow(InterlockError);
    expect(() => parseSpiffeId(text)).toThrow(reason);
    expect(spiffeIdOf(text)).toBeUndefined();
  });

  test('every code point of the Basic Latin block outside the allowed ones is refused in a path', () => {
    for (let c = 0; c < 128; c++) {
      const char = String.fromCharCode(c);
      const allowed = /[A-Za-z0-9._-]/.test(char);
      expect([char, spiffeIdOf(`spiffe://example.org/x${char}y`) !== undefined]).toEqual([
        char,
        allowed || char === '/',
      ]);
    }
  });

  test('its parts can be read', () => {
    const id = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
    expect(trustDomainOf(id)).toBe('example.org');
    expect(pathOf(id)).toBe('/ns/shop/sa/web');
    expect(shortNameOf(id)).toBe('web');
    expect(kubernetesNameOf(id)).toEqual({ namespace: 'shop', serviceAccount: 'web' });
    expect(kubernetesNameOf(parseSpiffeId('spiffe://example.org/vm/1'))).toBeUndefined();
    expect(pathOf(parseSpiffeId('spiffe://example.org'))).toBe('');
  });
});
