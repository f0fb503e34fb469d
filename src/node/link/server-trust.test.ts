import { afterEach, describe, expect, test } from 'vitest';
import { certificateToPem, exportPkcs8, generateKey, pem, pinOf, signerOf } from '../../identity/index.ts';
import { estate, forged, NOW, show } from '../../identity/x509/shown-pin.test-helper.ts';
import { trustByPin } from './server-trust.ts';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

async function listen(key: string, chain: string): Promise<string> {
  const { address, stop } = await show(key, chain);
  undo.push(stop);
  return address;
}

describe('meeting the control plane by the pin of a join token', () => {
  test('takes the root that it shows, where the pinned key has signed its certificate', async () => {
    const { root, child, server, serverKey } = await estate();
    const chain = [server, child, root].map(({ der }) => certificateToPem(der)).join('');
    const address = await listen(pem('PRIVATE KEY', exportPkcs8(serverKey)), chain);
    const { bundles, server: met } = await meet(address, pinOf(child.spki));
    expect(bundles.get('example.org')?.x509Authorities).toEqual([root.der]);
    expect(met).toBe(server.spiffeId);
    const another = pinOf(signerOf(generateKey('ec-p256')).spki);
    await expect(meet(address, another)).rejects.toMatchObject({ code: 'untrusted' });
  });

  test('refuses who merely shows the pinned certificate among others of his own', async () => {
    const { child } = await estate();
    const { key, chain } = await forged(child);
    const address = await listen(key, chain);
    await expect(meet(address, pinOf(child.spki))).rejects.toMatchObject({ code: 'untrusted' });
  });
});

function meet(address: string, pin: string) {
  return trustByPin(address, pin, NOW);
}
