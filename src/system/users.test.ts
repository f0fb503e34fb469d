import { describe, expect, test } from 'vitest';
import { strangersUid, uidOf } from './users.ts';

const passwd = () => 'root:x:0:0:root:/root:/bin/sh\n# no user\nweb:x:1001:1001::/:\nodd:x:abc:1::/:\n';

describe('the number of a user', () => {
  test('is that of its name', () => expect(uidOf('web', { passwd })).toBe(1001));

  test('is itself, without a name for it', () => {
    const none = () => {
      throw new Error('no file');
    };
    expect(uidOf(4242, { passwd: none })).toBe(4242);
    expect(uidOf('4242', { passwd: none })).toBe(4242);
    expect(() => uidOf('web', { passwd: none })).toThrow('give the number of "web"');
  });

  test.each(['nobody-here', 'odd', '# no user', '', '4294967295', '-1', '1e3'])(
    'is unknown for "%s"',
    (name) => expect(() => uidOf(name, { passwd })).toThrow(expect.objectContaining({ code: 'not_found' })),
  );
});

describe('the number that stands for strangers', () => {
  const overflowUid = () => '65534\n';

  test('is none where all users are known', () =>
    expect(
      strangersUid({ uidMap: () => '         0          0 4294967295\n', overflowUid }),
    ).toBeUndefined());

  test("is the kernel's in a user namespace", () => {
    const uidMap = () => '         0     100000      65536\n';
    expect(strangersUid({ uidMap, overflowUid })).toBe(65_534);
    expect(strangersUid({ uidMap, overflowUid: () => '4000\n' })).toBe(4000);
  });

  test('is assumed where nothing can be read', () => {
    const uidMap = () => {
      throw new Error('no /proc');
    };
    expect(strangersUid({ uidMap, overflowUid })).toBe(65_534);
  });
});
