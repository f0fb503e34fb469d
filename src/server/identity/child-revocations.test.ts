import { afterEach, describe, expect, test } from 'vitest';
import { isInterlockError, parseSpiffeId } from '../../access/index.ts';
import {
  createRequest,
  formatBundle,
  generateKey,
  MAX_BUNDLE_BYTES,
  parseBundle,
  parseCertificate,
  parseCrl,
  verifyX509Svid,
} from '../../identity/index.ts';
import { extension } from '../../identity/x509/sign.ts';
import { createCrl } from '../../identity/x509/crl.ts';
import { makeAuthority, uris } from '../../identity/x509/craft.test-helper.ts';
import { integer, OID, octetString, time } from '../../identity/der/index.ts';
import type { BelowRevocations } from '../agents/desk.ts';
import { revocationState } from '../agents/messages.ts';
import { TestPlane } from '../testing.test-helper.ts';
import { revocationsHere } from '../upstream/revocations-here.ts';
import { childAgent, childPlane, childRule } from './child-planes.test-helper.ts';

const planes: TestPlane[] = [];
afterEach(async () => {
  for (const plane of planes.splice(0)) await plane.remove();
});

const PAY = childAgent('pay');
const SHOP = childAgent('shop');

async function estate() {
  const root = await TestPlane.make();
  planes.push(root);
  const { plane: pay } = await childPlane(root, 'pay', ['/area/pay/'], 1);
  planes.push(pay);
  return { root, pay };
}

async function leaf(of: TestPlane, path: string) {
  return of.plane.issuing.leaf({
    kind: 'workload',
    spiffeId: parseSpiffeId(`spiffe://example.org${path}`),
    csr: createRequest(generateKey('ec-p256')),
    ttl: 3_600_000,
    agent: 'agent',
    rule: '',
  });
}

const said = (of: TestPlane): BelowRevocations => {
  const found = revocationsHere(of.plane.registry, 'example.org');
  if (found === undefined) throw new Error('the lists are there');
  return found;
};
const told = (of: TestPlane, agent: string) => revocationState(of.plane.registry.revocations.current, agent);
/** With another signature: its last byte is the last of a number. */
function spoilt(der: Buffer): Buffer {
  const bytes = Buffer.from(der);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return bytes;
}
const serialsIn = (crls: readonly Uint8Array[]) =>
  crls.flatMap((crl) => [...parseCrl(Buffer.from(crl)).revoked.keys()]);

describe('what a child authority has revoked', () => {
  test('is told to everyone but the child, refuses its certificate, and outlives a restart of the parent', async () => {
    const { root, pay } = await estate();
    const { chain, serial } = await leaf(pay, '/area/pay/web');
    const id = 'spiffe://example.org/area/pay/gone';
    await pay.plane.revoking.revokeSerial('uid:0', serial, 'keyCompromise');
    await pay.plane.revoking.revokeId('uid:0', parseSpiffeId(id), 'test');
    expect(await root.plane.children.publishRevocations(PAY, said(pay))).toBe(0);

    for (const other of ['an agent', SHOP.agent.id]) {
      const { crls, spiffeIds } = told(root, other);
      expect([serialsIn(crls), spiffeIds]).toEqual([[serial], [id]]);
    }
    const { crls, spiffeIds } = told(root, PAY.agent.id);
    expect([crls, spiffeIds]).toEqual([[], []]);
    const bundles = new Map([['example.org', root.plane.registry.ownBundle]]);
    const verify = () => {
      const { crls } = root.plane.registry.revocations.current.value;
      return verifyX509Svid(chain, { bundles, now: root.timers.now(), crls: [...crls.values()] });
    };
    expect(verify).toThrow(/was revoked/);
    await expect(leaf(root, '/area/pay/gone')).rejects.toMatchObject({ code: 'forbidden' });
    const audit = await root.plane.store.audit(1, 100);
    expect(audit).toContainEqual(
      expect.objectContaining({
        who: PAY.agent.id,
        act: 'revocations.publish',
        details: { lists: 1, spiffeIds: 1, skipped: 0 },
      }),
    );

    await root.close();
    await root.open();
    expect(verify).toThrow(/was revoked/);
    await root.plane.children.publishRevocations(PAY, { authorities: [], spiffeIds: [] });
    expect(told(root, 'an agent').spiffeIds).toEqual([]);
  });

  test('changes nothing when it is said again', async () => {
    const { root, pay } = await estate();
    await pay.plane.revoking.revokeSerial('uid:0', (await leaf(pay, '/area/pay/web')).serial, '');
    await root.plane.children.publishRevocations(PAY, said(pay));
    const { version } = root.plane.registry.revocations.current;
    const again = root.plane.children.publishRevocations(PAY, said(pay));
    await root.timers.advance(1000);
    expect(await again).toBe(0);
    expect(root.plane.registry.revocations.current.version).toBe(version);
  });

  test('is taken no oftener than four times a second: each time goes to every agent', async () => {
    const { root } = await estate();
    const { children, registry } = root.plane;
    const say = (path: string) =>
      children.publishRevocations(PAY, {
        authorities: [],
        spiffeIds: [`spiffe://example.org/area/pay/${path}`],
      });
    await say('a');
    const later = say('b');
    await root.timers.advance(200);
    expect([...registry.revocations.current.value.spiffeIds]).toEqual(['spiffe://example.org/area/pay/a']);
    await root.timers.advance(100);
    await later;
    expect([...registry.revocations.current.value.spiffeIds]).toEqual(['spiffe://example.org/area/pay/b']);
  });

  test('and its bundle are taken eight times, and then once in five seconds: each time goes to every agent', async () => {
    const { root } = await estate();
    await root.apply(childRule('bank', '{ trustDomains: [bank.example] }'));
    const agent = childAgent('bank');
    const { children, registry } = root.plane;
    const bank = await TestPlane.make({ trustDomain: 'bank.example' });
    planes.push(bank);
    const document = Buffer.from(formatBundle(bank.plane.registry.ownBundle));
    const before = registry.bundles.current.version;
    const taken = () => registry.bundles.current.version - before;
    const publish = () => children.publish(agent, 'bank.example', document);
    await Promise.all(Array.from({ length: 8 }, publish));
    expect(taken()).toBe(8);
    const later = publish();
    await expect(publish()).rejects.toMatchObject({ code: 'limit' });
    await root.timers.advance(4900);
    expect(taken()).toBe(8);
    await root.timers.advance(100);
    await later;
    expect(taken()).toBe(9);
  });

  test('of an authority below the child goes up with it', async () => {
    const { root, pay } = await estate();
    const { plane: europe, agent } = await childPlane(pay, 'europe', ['/area/pay/europe/']);
    planes.push(europe);
    const { serial } = await leaf(europe, '/area/pay/europe/web');
    await europe.plane.revoking.revokeSerial('uid:0', serial, '');
    expect(await pay.plane.children.publishRevocations(agent, said(europe))).toBe(0);
    expect(serialsIn(told(pay, 'an agent').crls)).toEqual([serial]);
    expect(await root.plane.children.publishRevocations(PAY, said(pay))).toBe(0);
    expect(serialsIn(told(root, 'an agent').crls)).toEqual([serial]);
  });

  test('is not taken for IDs outside its prefixes, nor for agents of the root', async () => {
    const { root } = await estate();
    const ids = [
      '/area/shop/web',
      '/area/payments/web',
      '/web',
      '/interlock/agent/join_token/n1',
      '/interlock/server',
      '',
    ].map((path) => `spiffe://example.org${path}`);
    ids.push('spiffe://other.example/area/pay/web', 'no ID', '__proto__');
    const inside = 'spiffe://example.org/area/pay/web';
    const skipped = await root.plane.children.publishRevocations(PAY, {
      authorities: [],
      spiffeIds: [...ids, inside],
    });
    expect(skipped).toBe(ids.length);
    expect(told(root, 'an agent').spiffeIds).toEqual([inside]);
    await root.apply(childRule('all', '{ unlimited: true }'));
    await root.plane.children.publishRevocations(childAgent('all'), { authorities: [], spiffeIds: ids });
    const server = 'spiffe://example.org/interlock/server';
    expect(told(root, 'an agent').spiffeIds).not.toContain(server);
  });

  test('is not taken from lists of others: the root, a sibling, an authority that the child made up', async () => {
    const { root, pay } = await estate();
    const { plane: shop } = await childPlane(root, 'shop', ['/area/shop/'], 1);
    planes.push(shop);
    const { plane: own } = await childPlane(shop, 'own', ['/area/shop/own/']);
    planes.push(own);
    for (const [plane, path] of [
      [root, '/web'],
      [pay, '/area/pay/web'],
      [shop, '/area/shop/web'],
      [own, '/area/shop/own/web'],
    ] as const)
      await plane.plane.revoking.revokeSerial('uid:0', (await leaf(plane, path)).serial, '');
    const [ofRoot] = root.plane.registry.ownCrls?.values() ?? [];
    const [ofPay] = said(pay).authorities;
    const [ofShop] = said(shop).authorities;
    const [ofOwn] = said(own).authorities;
    const [rootCertificate] = root.plane.registry.ownBundle.x509Authorities;
    if (!ofRoot || !ofPay || !ofShop || !ofOwn || !rootCertificate) throw new Error('a list is missing');
    const authorities = [
      { chain: [rootCertificate], crl: ofRoot },
      ofShop,
      // Signed by another than the one it comes with.
      { ...ofPay, crl: ofShop.crl },
      { ...ofShop, crl: ofPay.crl },
      // Below the sibling, and said to be below this one.
      { ...ofOwn, chain: [...ofOwn.chain, ...ofPay.chain] },
      { ...ofOwn, chain: [...ofOwn.chain, ...ofShop.chain] },
      ofOwn,
      // Right in every name and number, and not signed by the key.
      { ...ofPay, crl: spoilt(ofPay.crl) },
      { ...ofPay, chain: ofPay.chain.map(spoilt) },
      { ...ofPay, chain: [] },
      { ...ofPay, chain: [Buffer.from('no certificate')] },
      { ...ofPay, crl: Buffer.from('no list') },
      { ...ofPay, chain: Array.from({ length: 9 }, () => ofPay.chain[0] ?? Buffer.alloc(0)) },
    ];
    const before = told(root, 'an agent').crls.length;
    const skipped = await root.plane.children.publishRevocations(PAY, { authorities, spiffeIds: [] });
    expect(skipped).toBe(authorities.length);
    expect(told(root, 'an agent').crls).toHaveLength(before);
    const again = root.plane.children.publishRevocations(PAY, { authorities: [ofPay], spiffeIds: [] });
    await root.timers.advance(1000);
    expect(await again).toBe(0);
    // The end of its authority ends it.
    const { notAfter } = parseCertificate(ofPay.chain[0] ?? Buffer.alloc(0));
    await root.timers.advance(notAfter - root.timers.now() + 1);
    expect(await root.plane.children.publishRevocations(PAY, { authorities: [ofPay], spiffeIds: [] })).toBe(
      1,
    );
  });

  test('is forgotten with the agent that the child was: nobody else could take it back', async () => {
    const { root } = await estate();
    await root.serve();
    const { id } = await root.agent('pay');
    const spiffeId = parseSpiffeId('spiffe://example.org/area/pay/web');
    await root.plane.children.publishRevocations(PAY, { authorities: [], spiffeIds: [spiffeId] });
    await root.plane.agents.evict('uid:0', id, 'test');
    expect(told(root, 'an agent').spiffeIds).toEqual([spiffeId]);
    await root.plane.agents.forget('uid:0', id);
    expect(told(root, 'an agent').spiffeIds).toEqual([]);
    await root.close();
    await root.open();
    expect(told(root, 'an agent').spiffeIds).toEqual([]);
  });

  test('is refused where it is more than is passed on, or where no rule is for the child', async () => {
    const { root } = await estate();
    const { children } = root.plane;
    const nothing = { authorities: [], spiffeIds: [] };
    const many = (count: number, one: string) => Array.from({ length: count }, () => one);
    const tooMuch: BelowRevocations[] = [
      { ...nothing, spiffeIds: many(10_001, 'spiffe://example.org/area/pay/x') },
      { ...nothing, spiffeIds: many(2, 'x'.repeat(600_000)) },
      { ...nothing, authorities: [{ chain: [], crl: Buffer.alloc(1024 * 1024 + 1) }] },
      { ...nothing, authorities: Array.from({ length: 65 }, () => ({ chain: [], crl: Buffer.alloc(1) })) },
    ];
    for (const one of tooMuch)
      await expect(children.publishRevocations(PAY, one)).rejects.toMatchObject({ code: 'limit' });
    await expect(children.publishRevocations(childAgent('nobody'), nothing)).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  test('with a trust domain of its own is taken for that domain alone', async () => {
    const { root } = await estate();
    const bank = await TestPlane.make({ trustDomain: 'bank.example' });
    planes.push(bank);
    await root.apply(childRule('bank', '{ trustDomains: [bank.example] }'));
    const agent = childAgent('bank');
    const { documents } = bank.plane.registry.bundles.current.value;
    const document = documents.get('bank.example') ?? Buffer.alloc(0);
    await root.plane.children.publish(agent, 'bank.example', document);
    const id = parseSpiffeId('spiffe://bank.example/web');
    const { serial } = await bank.plane.issuing.leaf({
      kind: 'workload',
      spiffeId: id,
      csr: createRequest(generateKey('ec-p256')),
      ttl: 3_600_000,
      agent: '',
      rule: '',
    });
    await bank.plane.revoking.revokeSerial('uid:0', serial, '');
    await bank.plane.revoking.revokeId('uid:0', id, '');
    expect(await root.plane.children.publishRevocations(agent, said(bank))).toBe(0);
    expect(serialsIn(told(root, 'an agent').crls)).toEqual([serial]);
    expect(told(root, 'an agent').spiffeIds).toEqual([id]);
    const other = root.plane.children.publishRevocations(agent, {
      authorities: [],
      spiffeIds: ['spiffe://example.org/area/pay/web'],
    });
    await root.timers.advance(1000);
    expect(await other).toBe(1);
  });

  test('names no key but the one that has signed it: agents go by that', async () => {
    const { root } = await estate();
    await root.apply(childRule('bank', '{ trustDomains: [bank.example] }'));
    const agent = childAgent('bank');
    const { slot } = await root.plane.authorities.signing();
    const now = root.timers.now();
    // The key identifier in a certificate is its issuer's word.
    const made = makeAuthority(undefined, {
      name: 'bank',
      notBefore: time(now - 3_600_000),
      notAfter: time(now + 3_600_000),
      extensions: {
        names: uris('spiffe://bank.example'),
        ski: extension(OID.subjectKeyIdentifier, false, octetString(Buffer.from(slot.id, 'hex'))),
      },
    });
    const bundle = { trustDomain: 'bank.example', x509Authorities: [made.der], jwtAuthorities: [] };
    await root.plane.children.publish(agent, 'bank.example', Buffer.from(formatBundle(bundle)));
    const crl = createCrl({
      certificate: parseCertificate(made.der),
      signer: made.signer,
      revoked: [{ serial: '4711', at: now, reason: 'unspecified' }],
      number: 1,
      thisUpdate: now,
      nextUpdate: now + 3_600_000,
    });
    expect(parseCrl(crl).authorityKeyId).toBe(slot.id);
    const authorities = [{ chain: [made.der], crl }];
    expect(await root.plane.children.publishRevocations(agent, { authorities, spiffeIds: [] })).toBe(1);
    expect(told(root, 'an agent').crls).toEqual([]);
  });
});

test('a bundle that could not be read again after a restart is not taken', async () => {
  const { root } = await estate();
  await root.apply(childRule('bank', '{ trustDomains: [bank.example] }'));
  const pad = extension('1.3.6.1.4.1.99999.1', false, octetString(Buffer.alloc(1090)));
  const keys = Array.from({ length: 512 }, (_, i) => {
    const extensions = { names: uris('spiffe://bank.example'), pad };
    const { der } = makeAuthority(undefined, { name: 'bank', serial: integer(i + 1), extensions });
    return { use: 'x509-svid', kty: 'EC', x5c: [der.toString('base64')] };
  });
  // As it comes it is short enough; written here, with the key's numbers, it is not.
  const document = Buffer.from(JSON.stringify({ keys }));
  expect(document.length).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
  const { length } = formatBundle(parseBundle(document, 'bank.example'));
  expect(length).toBeGreaterThan(MAX_BUNDLE_BYTES);
  const publish = root.plane.children.publish(childAgent('bank'), 'bank.example', document);
  const code = await publish.then(
    () => 'taken',
    (error: unknown) => isInterlockError(error) && error.code,
  );
  await root.close();
  await root.open();
  expect(code).toBe('limit');
});
