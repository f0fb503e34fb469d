import { BlockList, isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressText, maskAddress, parseAddress, parseCidr } from './address.ts';

describe('addresses', () => {
  test('are read as the platform reads them', () => {
    const nearMiss = fc
      .array(fc.constantFrom('1', '0', '10', '255', '256', '.', ':', '::', 'ffff', 'a', 'g', '%'), {
        maxLength: 10,
      })
      .map((list) => list.join(''));
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), nearMiss), (text) => {
        // A zone names an interface of one machine; no policy can mean it.
        expect(parseAddress(text) !== undefined).toBe(isIP(text) !== 0 && !text.includes('%'));
      }),
      { numRuns: 2000 },
    );
  });

  test('belong to the blocks that the platform puts them in', () => {
    let inside = 0;
    const near = fc
      .tuple(fc.constantFrom('10', '11'), fc.nat(3), fc.nat(255), fc.nat(255))
      .map((o) => o.join('.'));
    fc.assert(
      fc.property(near, near, fc.integer({ min: 0, max: 32 }), (base, text, bits) => {
        const [address, block] = [parseAddress(text), parseAddress(base)];
        if (address === undefined || block === undefined) throw new Error('not read');
        const first = maskAddress(block, bits);
        const list = new BlockList();
        list.addSubnet(base, bits);
        expect(maskAddress(address, bits) === first).toBe(list.check(text));
        if (list.check(text)) inside++;
      }),
      { numRuns: 1000 },
    );
    expect(inside).toBeGreaterThan(50);
  });

  test('are written so that they read back the same', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const address = parseAddress(text);
        expect(address !== undefined && parseAddress(addressText(address))).toEqual(address);
      }),
    );
  });

  test.each([
    ['10.0.0.0/8', ''],
    ['0.0.0.0/0', ''],
    ['::/0', ''],
    ['2001:db8::1/128', ''],
    ['10.0.0.1/8', 'bits are set'],
    ['fd00::1/64', 'bits are set'],
    ['10.0.0.0', 'prefix length'],
    ['10.0.0.0/33', 'not a prefix length'],
    ['10.0.0.0/08', 'not a prefix length'],
    ['10.0.0.0/', 'not a prefix length'],
    ['10.0.0/8', 'not an IP address'],
    ['::ffff:10.0.0.0/104', 'write an IPv4-mapped address as IPv4'],
    ['fe80::1%eth0/64', 'not an IP address'],
  ])('the block %s is read, or refused with a reason', (text, reason) => {
    const parsed = parseCidr(text);
    if (reason === '') expect(parsed.ok).toBe(true);
    else expect(parsed.ok ? 'read' : parsed.reason).toContain(reason);
  });
});
