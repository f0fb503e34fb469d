import { describe, expect, test } from 'vitest';
import { addressesOf, addressKind, type Resolved } from './address.ts';

describe('an address', () => {
  test.each([
    ['93.184.216.34', 'public'],
    ['8.8.8.8', 'public'],
    ['127.0.0.1', 'loopback'],
    ['127.255.1.2', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::127.0.0.1', 'loopback'],
    ['10.0.0.1', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.1', 'public'],
    ['192.168.1.1', 'private'],
    ['100.64.0.1', 'private'],
    ['198.18.0.1', 'private'],
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:a00:1', 'private'],
    ['fd00::1', 'private'],
    ['fc00::1', 'private'],
    ['169.254.169.254', 'never'],
    ['169.254.0.1', 'never'],
    ['::ffff:169.254.169.254', 'never'],
    ['::ffff:a9fe:a9fe', 'never'],
    ['64:ff9b::a9fe:a9fe', 'never'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['64:ff9b::808:808', 'public'],
    ['64:ff9b:1::1', 'never'],
    ['2002:7f00:1::', 'loopback'],
    ['2002:a9fe:a9fe::1', 'never'],
    ['2002:0a00:1::', 'private'],
    ['2001:0:4136:e378:8000:63bf:3fff:fdd2', 'never'],
    ['100.100.100.200', 'never'],
    ['168.63.129.16', 'never'],
    ['fd00:ec2::254', 'never'],
    ['fd00:ec2::23', 'never'],
    ['fd20:ce::254', 'never'],
    ['fd00:c1::a9fe:a9fe', 'never'],
    ['fd00:42::42', 'never'],
    ['fd00:a9fe:a9fe::1', 'never'],
    ['fd00:100::100:200', 'never'],
    ['fe80::1', 'never'],
    ['fe80::1%eth0', 'never'],
    ['fec0::1', 'never'],
    ['ff02::1', 'never'],
    ['0.0.0.0', 'never'],
    ['0.1.2.3', 'never'],
    ['::', 'never'],
    ['192.0.2.1', 'never'],
    ['198.51.100.1', 'never'],
    ['203.0.113.1', 'never'],
    ['224.0.0.1', 'never'],
    ['255.255.255.255', 'never'],
    ['2001:db8::1', 'never'],
    ['2606:2800:220:1:248:1893:25c8:1946', 'public'],
    ['2a00:1450:4001:830::200e', 'public'],
    ['0177.0.0.1', 'never'],
    ['2130706433', 'never'],
    ['0x7f.1', 'never'],
    ['', 'never'],
    ['localhost', 'never'],
  ])('%s is %s', (text, kind) => {
    expect(addressKind(text)).toBe(kind);
  });
});

const to = (...addresses: string[]) => {
  const asked: string[] = [];
  const resolve = async (host: string): Promise<readonly Resolved[]> => {
    asked.push(host);
    return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  };
  return { asked, resolve };
};
const reach = (url: string, allowPrivate = false) => ({ url: new URL(url), allowPrivate });

describe('a receiver', () => {
  test('by a name that leads to public addresses alone is reached by these very addresses', async () => {
    const { resolve } = to('93.184.216.34', '2606:2800:220:1::1');
    expect(await addressesOf(reach('https://hooks.example.com/x'), resolve)).toEqual([
      { address: '93.184.216.34', family: 4 },
      { address: '2606:2800:220:1::1', family: 6 },
    ]);
  });

  test.each([
    ['https://rebind.example', ['93.184.216.34', '127.0.0.1'], false],
    ['https://inner.example', ['10.1.2.3'], false],
    ['https://metadata.google.internal', ['169.254.169.254'], true],
    ['https://mapped.example', ['::ffff:169.254.169.254'], true],
    ['http://plain.example', ['93.184.216.34'], true],
    ['http://plain.example', ['10.1.2.3'], true],
    // The parser of addresses writes all of these 127.0.0.1, or 169.254.169.254.
    ['https://2130706433/', [], false],
    ['https://0177.0.0.1/', [], false],
    ['https://0x7f.0.0.1/', [], false],
    ['https://127.1/', [], false],
    ['https://[::ffff:7f00:1]/', [], false],
    ['https://2852039166/', [], true],
    ['https://[::ffff:a9fe:a9fe]/', [], true],
  ] as const)('%s at %j is refused (private allowed: %s)', async (url, addresses, allowPrivate) => {
    const { resolve, asked } = to(...addresses);
    await expect(addressesOf(reach(url, allowPrivate), resolve)).rejects.toMatchObject({ code: 'forbidden' });
    expect(asked.length).toBe(addresses.length === 0 ? 0 : 1);
  });

  test('in a private network is reached where its channel allows it', async () => {
    const { resolve } = to('10.1.2.3');
    expect(await addressesOf(reach('https://inner.example', true), resolve)).toHaveLength(1);
    expect(await addressesOf(reach('http://127.0.0.1:8080/', true), resolve)).toEqual([
      { address: '127.0.0.1', family: 4 },
    ]);
  });

  test('without an address is away', async () => {
    await expect(addressesOf(reach('https://none.example'), to().resolve)).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
