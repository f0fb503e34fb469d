import { isIP } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalIp } from './ip.ts';

describe('an address', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['[fe80::1%eth0]', 'fe80::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ])('%s is written %s', (text, expected) => expect(canonicalIp(text)).toBe(expected));

  test.each([
    '',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.1.',
    '1.2.3.4.5',
    'cart',
    ':::',
    '1::2::3',
    '1:2:3',
    'g::',
    '1:2:3:4:5:6:7:8:9',
  ])('%s is none', (text) => expect(canonicalIp(text)).toBeUndefined());

  test('is one exactly where Node takes it for one, and its form is stable', () => {
    const group = fc.integer({ min: 0, max: 0xffff }).map((n) => n.toString(16));
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc
        .array(fc.oneof(group, fc.constantFrom('', '0', '1.2.3.4')), { minLength: 2, maxLength: 9 })
        .map((g) => g.join(':')),
    );
    fc.assert(
      fc.property(text, (address) => {
        const form = canonicalIp(address);
        expect(form !== undefined).toBe(isIP(address) !== 0);
        expect(form === undefined ? undefined : canonicalIp(form)).toBe(form);
      }),
    );
  });
});
