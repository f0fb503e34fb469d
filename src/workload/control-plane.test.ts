import { afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import { certificateToPem, exportPkcs8, generateKey, pem, pinOf, signerOf } from '../identity/index.ts';
import { estate, forged, NOW, show } from '../identity/x509/shown-pin.test-helper.ts';
import { controlPlaneOf, hostAndPort, meetControlPlane, readControlPlaneId } from './control-plane.ts';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

async function listen(key: string, chain: string): Promise<string> {
  const { address, stop } = await show(key, chain);
  undo.push(stop);
  return address;
}

describe('meeting a control plane by the pin of a join token', () => {
  test('takes the root that it shows, where the pinned key has signed its certificate', async () => {
    const { root, child, server, serverKey } = await estate();
    const chain = [server, child, root].map(({ der }) => certificateToPem(der)).join('');
    const address = await listen(pem('PRIVATE KEY', exportPkcs8(serverKey)), chain);
    const { bundles, id } = await meetControlPlane(address, pinOf(child.spki), NOW);
    expect(bundles.get('example.org')?.x509Authorities).toEqual([root.der]);
    expect(id).toBe(server.spiffeId);
    const another = pinOf(signerOf(generateKey('ec-p256')).spki);
    await expect(meetControlPlane(address, another, NOW)).rejects.toMatchObject({ code: 'untrusted' });
  });

  test('refuses who merely shows the pinned certificate among others of his own', async () => {
    const { child } = await estate();
    const { key, chain } = await forged(child);
    const address = await listen(key, chain);
    await expect(meetControlPlane(address, pinOf(child.spki), NOW)).rejects.toMatchObject({
      code: 'untrusted',
    });
  });
});

describe('the ID of a control plane', () => {
  test('is the one above its agents', () => {
    const agent = parseSpiffeId('spiffe://example.org/area/pay/interlock/agent/oidc/job-7');
    expect(controlPlaneOf(agent)).toBe('spiffe://example.org/area/pay/interlock/server');
  });

  test('ends as every control plane does, and nothing else is taken for one', () => {
    const id = 'spiffe://example.org/area/pay/interlock/server';
    expect(readControlPlaneId(id)).toBe(id);
    for (const other of ['spiffe://example.org/area/pay/web', 'spiffe://example.org', 'no ID'])
      expect(() => readControlPlaneId(other)).toThrow(expect.objectContaining({ code: 'invalid_identity' }));
  });
});

test.each([
  ['localhost:1', 'localhost', 1],
  ['[::1]:65535', '::1', 65535],
  ['a', '', 0],
  ['a:0', '', 0],
  ['a:65536', '', 0],
  ['::1:80', '', 0],
  ['a b:1', '', 0],
])('%s is an address or is none', (address, host, port) => {
  if (host === '') expect(() => hostAndPort(address)).toThrow(expect.objectContaining({ code: 'usage' }));
  else expect(hostAndPort(address)).toEqual({ host, port });
});
