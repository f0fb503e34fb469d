import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '../x509/peculiar.test-helper.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, parseCertificate } from '../x509/index.ts';
import { MINUTE, NOW } from './example.test-helper.ts';
import { answerChallenge, X509PopAttestor, type X509PopOptions } from './index.ts';

const EC = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGN = { name: 'ECDSA', hash: 'SHA-256' } as const;
const CSR = Buffer.from('the request of the agent');

interface Party {
  readonly name: string;
  readonly certificate: Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly key: KeyObject;
}

/** A certificate of somebody else's public-key infrastructure, made by another library. */
async function make(
  name: string,
  issuer: Party | undefined,
  options: {
    authority?: boolean;
    pathLength?: number;
    from?: number;
    to?: number;
    extensions?: x509.Extension[];
  } = {},
): Promise<Party> {
  const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const authority = options.authority ?? true;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    subject: name,
    issuer: issuer?.name ?? name,
    notBefore: new Date(options.from ?? NOW - 60 * MINUTE),
    notAfter: new Date(options.to ?? NOW + 60 * MINUTE),
    publicKey: keys.publicKey,
    signingKey: issuer?.keys.privateKey ?? keys.privateKey,
    signingAlgorithm: SIGN,
    extensions: [
      new x509.BasicConstraintsExtension(authority, options.pathLength, true),
      new x509.KeyUsagesExtension(
        authority ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      ...(options.extensions ?? []),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return { name, certificate: parseCertificate(Buffer.from(certificate.rawData)), keys, key };
}

let root: Party;
let middle: Party;
let node: Party;
beforeAll(async () => {
  x509.cryptoProvider.set(webcrypto);
  root = await make('CN=Corp Root', undefined);
  middle = await make('CN=Corp Issuing', root, { pathLength: 0 });
  node = await make('CN=node-7, OU=payments', middle, { authority: false });
});

const attestor = (more: Partial<X509PopOptions> = {}) =>
  new X509PopAttestor({
    roots: [root.certificate],
    random: randomBytes,
    agent: 'claims.subject.cn',
    ...more,
  });

/** Attests with a chain; the answer to the challenge is made by `key`, over the request given. */
function attest(
  chain: readonly Party[],
  {
    by = attestor(),
    key = chain[0]?.key ?? node.key,
    csr = CSR,
    now = NOW,
  }: { by?: X509PopAttestor; key?: KeyObject; csr?: Buffer; now?: number } = {},
) {
  return by.attest(Buffer.concat(chain.map(({ certificate }) => certificate.der)), {
    trustDomain: 'example.org',
    now,
    csr: CSR,
    challenge: (nonce) => Promise.resolve(answerChallenge(key, nonce, csr)),
  });
}

describe('proof of possession', () => {
  test('of a certificate that leads to the root makes an agent', async () => {
    const attested = await attest([node, middle]);
    expect(attested).toMatchObject({
      name: 'node-7',
      claims: { serial: '01', subject: { cn: 'node-7', ou: 'payments' } },
      reattestable: true,
    });
    expect(attested.selectors.slice(0, 2)).toEqual(['x509pop:subject:cn:node-7', 'x509pop:serialnumber:01']);
    expect(attested.selectors[2]).toMatch(/^x509pop:ca:fingerprint:[0-9a-f]{40}$/);
    const unnamed = new X509PopAttestor({ roots: [root.certificate], random: randomBytes });
    expect((await attest([node, middle], { by: unnamed })).name).toMatch(/^[0-9a-f]{64}$/);
  });

  test('fails with another key, for another request, and for an earlier challenge', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    await expect(attest([node, middle], { key: other })).rejects.toThrow(
      /the answer is not signed by the key of/,
    );
    await expect(attest([node, middle], { csr: Buffer.from('stolen') })).rejects.toThrow(
      /not signed by the key/,
    );
    let recorded: Buffer | undefined;
    const replay = () =>
      attestor().attest(Buffer.concat([node.certificate.der, middle.certificate.der]), {
        trustDomain: 'example.org',
        now: NOW,
        csr: CSR,
        challenge: (nonce) => Promise.resolve((recorded ??= answerChallenge(node.key, nonce, CSR))),
      });
    expect((await replay()).name).toBe('node-7');
    await expect(replay()).rejects.toThrow(/not signed by the key/);
  });

  test.each<[string, () => Promise<readonly Party[]>, RegExp]>([
    ['no certificate', () => Promise.resolve([]), /no certificate was given/],
    ['a chain that stops short', () => Promise.resolve([node]), /leads to none of the roots/],
    [
      'a chain to another root of the same name',
      async () => [await make('CN=node-7', await make('CN=Corp Root', undefined), { authority: false })],
      /leads to none of the roots/,
    ],
    [
      'an expired certificate',
      async () => [await make('CN=node-7', middle, { authority: false, to: NOW - MINUTE }), middle],
      /expired at 2026-11-21T04:59/,
    ],
    [
      'one from a clock ahead',
      async () => [await make('CN=node-7', middle, { authority: false, from: NOW + 5 * MINUTE }), middle],
      /valid only from 2026-11-21T05:05/,
    ],
    [
      'an expired intermediate',
      async () => {
        const past = await make('CN=Past', root, { to: NOW - MINUTE });
        return [await make('CN=node-7', past, { authority: false }), past];
      },
      /"CN=Past" is not accepted: it expired/,
    ],
    ['an authority itself', () => Promise.resolve([middle]), /it is an authority/],
    [
      'a leaf that issued a leaf',
      async () => [await make('CN=node-7', node, { authority: false }), node, middle],
      /is no authority/,
    ],
    [
      'an authority too many',
      async () => {
        const third = await make('CN=Third', middle);
        return [await make('CN=node-7', third, { authority: false }), third, middle];
      },
      /more than 0 authorities stand below/,
    ],
    [
      'a critical extension that nobody knows',
      async () => [
        await make('CN=node-7', middle, {
          authority: false,
          extensions: [new x509.Extension('1.2.3.4', true, new Uint8Array([5, 0]))],
        }),
        middle,
      ],
      /critical extension that is not known here, 1.2.3.4/,
    ],
    [
      'a key that is only for servers',
      async () => [
        await make('CN=node-7', middle, {
          authority: false,
          extensions: [new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1'])],
        }),
        middle,
      ],
      /not for clients/,
    ],
    [
      'a chain that is too long',
      () => Promise.resolve([node, ...Array.from({ length: 8 }, () => middle)]),
      /more than 8/,
    ],
    [
      'a name with "/"',
      async () => [await make('CN=../server', middle, { authority: false }), middle],
      /cannot name an agent/,
    ],
    [
      'a certificate without a name',
      async () => [await make('O=acme', middle, { authority: false }), middle],
      /"agent" has no value/,
    ],
  ])('of %s is refused with the reason', async (_what, chain, expected) => {
    await expect(attest(await chain())).rejects.toThrow(expected);
  });

  test('of a node that the condition does not let in is refused', async () => {
    const by = attestor({ when: "claims.subject.ou == 'shipping'" });
    await expect(attest([node, middle], { by })).rejects.toThrow(/does not hold: subject is .*payments/);
  });

  test('with an answer that is no signature at all fails in the same way', async () => {
    for (const answer of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(64), Buffer.alloc(20_000, 0x30)]) {
      const asked = attestor().attest(Buffer.concat([node.certificate.der, middle.certificate.der]), {
        trustDomain: 'example.org',
        now: NOW,
        csr: CSR,
        challenge: () => Promise.resolve(answer),
      });
      await expect(asked).rejects.toThrow(/the answer is not signed by the key of/);
    }
  });

  test('of bytes that are no certificates is refused', async () => {
    for (const bytes of [Buffer.from('x'), node.certificate.der.subarray(0, 50), Buffer.alloc(1000, 0x30)])
      await expect(
        attestor().attest(bytes, {
          trustDomain: 'e',
          now: NOW,
          csr: CSR,
          challenge: () => Promise.reject(new Error()),
        }),
      ).rejects.toMatchObject({ code: 'invalid_certificate' });
  });
});
