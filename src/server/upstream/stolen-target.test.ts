import { describe, expect, test } from 'vitest';
import { type Certificate, createRequest, generateKey } from '../../identity/index.ts';
import { makeAuthority, uris } from '../../identity/x509/craft.test-helper.ts';
import { authorityKeyIdExtension } from '../../identity/x509/issuer.ts';
import { HOUR, WHO } from '../testing.test-helper.ts';
import { Estate } from './estate.test-helper.ts';

async function joined(): Promise<Estate> {
  const estate = await Estate.make();
  await estate.join();
  await estate.until(() => estate.joined?.list()[0]?.fault === undefined);
  return estate;
}

/** Waits until what the other control plane has sent so far is taken: what it sends is taken in turn. */
async function taken(estate: Estate): Promise<void> {
  const { root } = await estate.b.plane.authorities.prepare(WHO);
  const { bundles } = estate.a.plane.registry;
  await estate.until(
    () =>
      bundles.current.value.bundles.get('b.example')?.x509Authorities.some((der) => der.equals(root.der)) ===
      true,
  );
}

describe('a stolen control plane to which a cutover moves', () => {
  test('has nothing replaced that it has not certified', async () => {
    const estate = await joined();
    // One of this control plane's own, certified by its own root, which everybody can read in the bundle.
    const { authorities, keys } = estate.a.plane;
    const { slot, issuer } = await authorities.signing();
    const key = generateKey('ec-p256');
    const keyId = await keys.vault.put(key);
    const order = { csr: createRequest(key), ttl: HOUR, prefixes: undefined };
    const { certificate } = await issuer.issueAuthority(order);
    const certified = { intermediates: [certificate], root: slot.root };
    const ours = await authorities.adopt(WHO, keyId, certified, 'second');
    estate.b.plane.link.replace({ authority: certificate.authorityKeyId ?? '', overMs: 0 });
    await taken(estate);
    expect(authorities.slots.filter(({ name }) => name === 'second').map(({ id }) => id)).toEqual([ours.id]);
  });

  test('does no harm by its answer to a renewal', async () => {
    const estate = await joined();
    const { desk, authorities } = estate.b.plane;
    const renew = desk.renew.bind(desk);
    let answers = 0;
    desk.renew = async (agent, csr) => {
      const signed = await renew(agent, csr);
      answers++;
      return { ...signed, chain: [Buffer.from('nonsense')] };
    };
    for (const { id } of authorities.slots) estate.b.plane.link.replace({ authority: id, overMs: 0 });
    await estate.until(() => answers > 0);
    await taken(estate);
    await estate.restart();
    await estate.until(() => estate.joined?.list()[0]?.fault === undefined);
  });

  /** Certificates between an authority and the root, by their names. */
  const between = (root: Certificate) =>
    makeAuthority(undefined, {
      name: 'between',
      subjectName: root.subjectName,
      issuerName: root.subjectName,
      extensions: {
        names: uris('spiffe://b.example'),
        aki: authorityKeyIdExtension(Buffer.from(root.subjectKeyId ?? '', 'hex')),
      },
    }).der;
  const spoilt = (der: Buffer) => Buffer.concat([der.subarray(0, -1), Buffer.from([(der.at(-1) ?? 0) ^ 1])]);
  test.each<[string, (signed: readonly Buffer[], root: Certificate) => readonly Buffer[]]>([
    [
      'a chain longer than a verifier looks at',
      (signed, root) => [...signed, ...Array.from({ length: 20 }, () => between(root))],
    ],
    ['a certificate that its root has not signed', (signed) => signed.map(spoilt)],
  ])('gives this one no authority with %s', async (_, answer) => {
    const estate = await joined();
    const { desk, authorities } = estate.b.plane;
    const { slot } = await authorities.signing();
    const sign = desk.signAuthority.bind(desk);
    desk.signAuthority = async (agent, csr, ttl) => {
      const signed = await sign(agent, csr, ttl);
      return { ...signed, chain: answer(signed.chain, slot.root) };
    };
    await expect(estate.a.plane.authorities.prepare(WHO, 'region-b')).rejects.toMatchObject({
      code: expect.stringMatching('untrusted|invalid_certificate'),
    });
    await estate.restart();
    expect(estate.joined?.list()).toHaveLength(1);
  });
});
