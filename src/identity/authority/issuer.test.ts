import { generateKeyPairSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { type Bundles, jwtAuthorityOf } from '../bundle/index.ts';
import { verifyJwtSvid } from '../jwt/index.ts';
import { generateKey, type KeyAlgorithm, signerOf } from '../keys/index.ts';
import { createRequest, issueAuthority, parseCertificate, parseCrl, verifyX509Svid } from '../x509/index.ts';
import { AuthorityIssuer } from './issuer.ts';

const NOW = Date.UTC(2026, 10, 21);
const HOUR = 3_600_000;
const web = parseSpiffeId('spiffe://example.org/area/pay/web');
const csr = createRequest(generateKey('ec-p256'));

/** A root, and the bundle that holds it. */
async function root(algorithm: KeyAlgorithm = 'ec-p256', life = 24 * HOUR) {
  const signer = signerOf(generateKey(algorithm));
  const certificate = await issueAuthority({
    trustDomain: 'example.org',
    notBefore: NOW - HOUR,
    notAfter: NOW + life,
    signer,
    random: randomBytes,
  });
  let now = NOW;
  const issuer = new AuthorityIssuer({
    chain: [certificate],
    signer,
    jwt: { signer, keyId: signer.keyId },
    trustDomain: 'example.org',
    random: randomBytes,
    now: () => now,
  });
  const bundles: Bundles = new Map([
    ['example.org', { trustDomain: 'example.org', x509Authorities: [certificate.der], jwtAuthorities: [] }],
  ]);
  return { issuer, bundles, certificate, signer, setNow: (at: number) => (now = at) };
}

/** A child authority that a parent signed. */
async function child(parent: AuthorityIssuer, prefixes: readonly string[] | undefined, pathLength = 0) {
  const key = generateKey('ec-p256');
  const issued = await parent.issueAuthority({
    csr: createRequest(key),
    ttl: 12 * HOUR,
    prefixes,
    pathLength,
  });
  const parents = issued.chain.slice(1).map((der) => parseCertificate(der));
  return new AuthorityIssuer({
    chain: [issued.certificate, ...parents],
    signer: signerOf(key),
    trustDomain: 'example.org',
    random: randomBytes,
    now: () => NOW,
  });
}

describe('AuthorityIssuer', () => {
  test.each<KeyAlgorithm>(['ec-p256', 'ec-p384', 'ed25519', 'ml-dsa-65'])(
    'an SVID of a %s authority is accepted, and so is one of the child below it',
    async (algorithm) => {
      const { issuer, bundles } = await root(algorithm);
      const direct = await issuer.issueX509({ csr, spiffeId: web, ttl: HOUR, dnsNames: ['web.pay.svc'] });
      expect(direct.chain).toHaveLength(1);
      expect(verifyX509Svid(direct.chain, { bundles, now: NOW }).spiffeId).toBe(web);
      const below = await (await child(issuer, ['/area/pay/'])).issueX509({ csr, spiffeId: web, ttl: HOUR });
      expect(below.chain).toHaveLength(2);
      expect(verifyX509Svid(below.chain, { bundles, now: NOW }).spiffeId).toBe(web);
    },
  );

  test('no leaf outlives its authority, nor any authority above that', async () => {
    const { issuer } = await root('ec-p256', 2 * HOUR);
    const below = await child(issuer, undefined);
    const lives = fc.integer({ min: 60_000, max: 48 * HOUR });
    await fc.assert(
      fc.asyncProperty(lives, fc.constantFrom(issuer, below), async (ttl, by) => {
        const { certificate } = await by.issueX509({ csr, spiffeId: web, ttl });
        expect(certificate.notAfter).toBeLessThanOrEqual(NOW + 2 * HOUR);
        expect(certificate.notAfter).toBeLessThanOrEqual(NOW + ttl);
        expect(certificate.notBefore).toBe(NOW - 10_000);
      }),
      { numRuns: 30 },
    );
  });

  test('an ID outside its prefixes, and prefixes outside its own, are refused', async () => {
    const { issuer } = await root();
    const pay = await child(issuer, ['/area/pay/'], 1);
    const other = parseSpiffeId('spiffe://example.org/area/payroll');
    await expect(pay.issueX509({ csr, spiffeId: other, ttl: HOUR })).rejects.toMatchObject({
      code: 'forbidden',
    });
    const foreign = parseSpiffeId('spiffe://other.org/area/pay/web');
    await expect(pay.issueX509({ csr, spiffeId: foreign, ttl: HOUR })).rejects.toMatchObject({
      code: 'forbidden',
    });
    for (const prefixes of [undefined, ['/area/'], ['/area/pay/', '/area/ship/'], ['/area/payroll/']])
      await expect(child(pay, prefixes)).rejects.toMatchObject({ code: 'forbidden' });
    await expect(child(await child(pay, ['/area/pay/eu/']), ['/area/pay/eu/x/'])).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  test('after its end it issues nothing', async () => {
    const { issuer, setNow } = await root();
    setNow(NOW + 24 * HOUR + 1);
    await expect(issuer.issueX509({ csr, spiffeId: web, ttl: HOUR })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(() => issuer.issueJwt({ spiffeId: web, audience: ['db'], ttl: HOUR })).toThrow(/expire at once/);
  });

  test('a request that is not signed by its key gets nothing', async () => {
    const { issuer } = await root();
    const forged = Buffer.from(csr);
    forged.writeUInt8(forged.readUInt8(forged.length - 1) ^ 1, forged.length - 1);
    await expect(issuer.issueX509({ csr: forged, spiffeId: web, ttl: HOUR })).rejects.toThrow(
      /not signed by the key/,
    );
  });

  test('serial numbers are 126 random bits each', async () => {
    const { issuer } = await root();
    const serials = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const { certificate } = await issuer.issueX509({ csr, spiffeId: web, ttl: HOUR });
      expect(certificate.serial).toMatch(/^[4-7][0-9a-f]{31}$/);
      serials.add(certificate.serial);
    }
    expect(serials.size).toBe(200);
  });

  test('a JWT-SVID is accepted under its key, and ends with the authority', async () => {
    const { issuer, signer } = await root('ec-p256', HOUR);
    const { token, issuedAt, expiresAt } = issuer.issueJwt({
      spiffeId: web,
      audience: ['db'],
      ttl: 2 * HOUR,
    });
    expect([issuedAt, expiresAt]).toEqual([NOW, NOW + HOUR]);
    const bundles: Bundles = new Map([
      [
        'example.org',
        {
          trustDomain: 'example.org',
          x509Authorities: [],
          jwtAuthorities: [jwtAuthorityOf(signer.keyId, signer.spki)],
        },
      ],
    ]);
    const verified = await verifyJwtSvid(token, { bundles, audience: 'db', now: NOW });
    expect(verified).toMatchObject({ spiffeId: web, expiresAt: NOW + HOUR });
  });

  test('a kind of key that JWT-SVIDs cannot have makes none, nor does an authority without a key for them', async () => {
    const { issuer } = await root('ed25519');
    expect(() => issuer.issueJwt({ spiffeId: web, audience: ['db'], ttl: HOUR })).toThrow(/no algorithm/);
    const limited = await child((await root()).issuer, ['/area/pay/']);
    expect(() => limited.issueJwt({ spiffeId: web, audience: ['db'], ttl: HOUR })).toThrow(
      /makes no JWT-SVIDs/,
    );
  });

  test('a serial on its list of revoked certificates is refused', async () => {
    const { issuer, bundles } = await root();
    const { chain, certificate } = await issuer.issueX509({ csr, spiffeId: web, ttl: HOUR });
    const crl = issuer.crl([{ serial: certificate.serial, at: NOW, reason: 'keyCompromise' }], 1, HOUR);
    expect(() => verifyX509Svid(chain, { bundles, now: NOW, crls: [parseCrl(crl)] })).toThrow(/revoked/);
    const empty = parseCrl(issuer.crl([], 2, HOUR));
    expect(verifyX509Svid(chain, { bundles, now: NOW, crls: [empty] }).spiffeId).toBe(web);
  });

  test("a workload's certificate is no authority", async () => {
    const { issuer } = await root();
    const { certificate } = await issuer.issueX509({ csr, spiffeId: web, ttl: HOUR });
    const signer = signerOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
    const make = () =>
      new AuthorityIssuer({
        chain: [certificate],
        signer,
        trustDomain: 'example.org',
        random: randomBytes,
        now: () => NOW,
      });
    expect(make).toThrow(/cannot issue/);
  });
});
