import { describe, expect, test } from 'vitest';
import { create } from '@bufbuild/protobuf';
import { parseSpiffeId } from '../../access/index.ts';
import {
  type Bundle,
  type Certificate,
  createRequest,
  formatBundle,
  generateKey,
  jwtAuthorityOf,
  MAX_BUNDLE_KEYS,
  parseBundle,
  parseCertificate,
  spkiOf,
} from '../../identity/index.ts';
import { OID, octetString } from '../../identity/der/index.ts';
import { createCrl } from '../../identity/x509/crl.ts';
import { extension } from '../../identity/x509/sign.ts';
import { BundleStateSchema } from '../../proto/index.ts';
import { readChildState } from './child-state.ts';
import { joinedRole, joinedSetting } from './role.ts';
import { makeAuthority, uris } from '../../identity/x509/craft.test-helper.ts';
import { authorityKeyIdExtension } from '../../identity/x509/issuer.ts';
import { HOUR, WHO } from '../testing.test-helper.ts';
import { Estate, rights } from './estate.test-helper.ts';

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
    expect(estate.log.join()).toContain('something that is no certificate');
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

  test('can refuse those that have moved to it, until they are called back', async () => {
    const estate = await joined();
    const connection = await estate.connect(await estate.a.agent('n1'));
    await estate.move(connection);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://b.example/uid/1');
    const { revocations } = estate.a.plane.registry;
    const ids = ['spiffe://b.example/uid/1', 'spiffe://a.example/uid/1'].map((id) => parseSpiffeId(id));
    for (const id of ids) await estate.b.plane.revoking.revokeId(WHO, id, 'x');
    await estate.until(() => revocations.current.value.spiffeIds.size > 0);
    await expect(estate.idOf(connection, 1)).rejects.toThrow('is revoked');
    await estate.a.plane.cutovers.back(WHO, 'c');
    expect(await estate.idOf(connection, 1)).toBe('spiffe://a.example/uid/1');
  });

  test('revokes nothing of ours by a root that names our key', async () => {
    const estate = await joined();
    const { plane, timers } = estate.a;
    const { slot } = await plane.authorities.signing();
    const now = timers.now();
    const ski = extension(OID.subjectKeyIdentifier, false, octetString(Buffer.from(slot.id, 'hex')));
    const made = makeAuthority(undefined, {
      name: 'b',
      extensions: { names: uris('spiffe://b.example'), ski },
    });
    const role = joinedRole(plane, 'region-b', () => {});
    const bundle = { trustDomain: 'b.example', x509Authorities: [made.der], jwtAuthorities: [] };
    const document = { trustDomain: 'b.example', jwks: Buffer.from(formatBundle(bundle)) };
    const state = create(BundleStateSchema, { version: 9n, trustDomain: 'b.example', bundles: [document] });
    const step = role.bundles(state);
    if (step === undefined) throw new TypeError('it is another bundle');
    await plane.registry.step(async () => ({
      step,
      entry: plane.recorder.entry('b', 'parent.bundles', 'x'),
    }));
    const crl = createCrl({
      certificate: parseCertificate(made.der),
      signer: made.signer,
      revoked: [{ serial: '4711', at: now, reason: 'unspecified' }],
      number: 1,
      thisUpdate: now,
      nextUpdate: now + HOUR,
    });
    expect(role.revocations([crl], [])).toBeUndefined();
  });
});

test('what a control plane abroad sends all the time is taken once in a while, and then the newest', async () => {
  const estate = await joined();
  const { bundles, ownBundle } = estate.b.plane.registry;
  const taken = estate.a.plane.registry;
  const before = taken.bundles.current.version;
  const keys = () => taken.abroad.joined.get('region-b')?.bundle.jwtAuthorities.map(({ keyId }) => keyId);
  const { value, version } = bundles.current;
  for (let i = 1; i <= 100; i++) {
    const added = jwtAuthorityOf(`key ${i}`, spkiOf(generateKey('ec-p256')));
    const bundle = { ...ownBundle, jwtAuthorities: [...ownBundle.jwtAuthorities, added] };
    const documents = new Map([['b.example', Buffer.from(formatBundle(bundle))]]);
    bundles.publish({ ...value, documents }, version + i);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(taken.bundles.current.version - before).toBeLessThanOrEqual(32);
  await estate.a.timers.advance(5000);
  await estate.until(() => keys()?.includes('key 100') === true);
});

describe('a stolen region', () => {
  const REGION = '{ prefixes: ["/uid/"], trustDomains: [example.org] }';

  test('is not taken by others for the control plane that trusts it', async () => {
    const estate = await Estate.make(REGION, ['example.org', 'example.org']);
    await estate.join();
    const { children, authorities } = estate.b.plane;
    const id = parseSpiffeId('spiffe://example.org/interlock/agent/join_token/c');
    const agent = { agent: { id, attestor: 'join_token' }, selectors: [`agent:id:${id}`], claims: {} };
    await estate.b.apply(
      rights(REGION, 'example.org').replace('a-authority', 'c-authority').replace('token/a', 'token/c'),
    );
    const stolen = makeAuthority(undefined, { name: 'c' }).der;
    const bundle = { trustDomain: 'example.org', x509Authorities: [stolen], jwtAuthorities: [] };
    await children.publish(agent, 'example.org', Buffer.from(formatBundle(bundle)));
    const { root } = await authorities.prepare(WHO);
    const { store, registry } = estate.a.plane;
    const has = (known: Bundle | undefined, der: Buffer) =>
      known?.x509Authorities.some((each) => each.equals(der)) === true;
    await estate.until(() => has(registry.abroad.joined.get('region-b')?.bundle, root.der));
    const state = await readChildState(store, joinedSetting('region-b'));
    expect([has(state?.parentBundle, root.der), has(state?.parentBundle, stolen)]).toEqual([true, false]);
  });

  test('does not make the bundle of its trust domain so large that agents cannot read it', async () => {
    const estate = await Estate.make(REGION, ['example.org', 'example.org']);
    await estate.join();
    const { children, agents, registry, authorities } = estate.b.plane;
    const agent = agents.agentOf(parseSpiffeId('spiffe://example.org/interlock/agent/join_token/a'));
    const jwtAuthorities = Array.from({ length: MAX_BUNDLE_KEYS }, (_, i) =>
      jwtAuthorityOf(`key ${i}`, spkiOf(generateKey('ec-p256'))),
    );
    const bundle = { trustDomain: 'example.org', x509Authorities: [], jwtAuthorities };
    await expect(
      children.publish(agent, 'example.org', Buffer.from(formatBundle(bundle))),
    ).rejects.toMatchObject({ code: 'limit' });
    await authorities.prepare(WHO);
    const { documents } = registry.bundles.current.value;
    expect(
      parseBundle(documents.get('example.org') ?? '', 'example.org').x509Authorities.length,
    ).toBeGreaterThan(1);
  });
});
