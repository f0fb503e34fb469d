import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { type Signer, signerOf } from '../keys/index.ts';
import { parseCertificate } from './certificate.ts';
import { HOUR, keyOf, NOW } from './craft.test-helper.ts';
import { issueAuthority, issueX509 } from './issue.ts';
import { issuerOf } from './issuer.ts';
import { createRequest, parseRequest } from './request.ts';
import { signCertificate } from './sign.ts';
import { authorityTemplate, leafTemplate, newSerial } from './template.ts';
import { checkIssued, checkIssuedFields } from './validate.ts';
import { API, chainOf, random, rootOf, times } from './issued.test-helper.ts';

describe('issuing an X509-SVID', () => {
  const signer = signerOf(keyOf('root'));
  const request = parseRequest(createRequest(keyOf('leaf')));
  const issue = async (differences: Partial<Parameters<typeof issueX509>[0]>) => {
    const issuer = issuerOf(await rootOf('ec-p256'));
    return issueX509({ spiffeId: API, ...times, issuer, signer, request, random, ...differences });
  };

  test('takes nothing from the request but its key', async () => {
    const asked = createRequest(keyOf('leaf'), {
      spiffeId: parseSpiffeId('spiffe://example.org/admin'),
      dnsNames: ['admin.example.org'],
    });
    const leaf = await issue({ request: parseRequest(asked) });
    expect(leaf.uriNames).toEqual([API]);
    expect(leaf.dnsNames).toEqual([]);
    expect(leaf.subject).toBe('O=Interlock');
  });

  test('refuses a request signed by another key', async () => {
    const theirs = parseRequest(createRequest(keyOf('theirs')));
    const forged = { ...request, spki: theirs.spki };
    await expect(issue({ request: forged })).rejects.toMatchObject({ code: 'untrusted' });
  });

  test('refuses a request whose point is not on its curve, and signs nothing for it', async () => {
    const spki = Buffer.from(request.spki);
    spki[80] = (spki[80] as number) ^ 1;
    let signed = 0;
    const counting: Signer = {
      ...signer,
      sign: (data) => {
        signed++;
        return signer.sign(data);
      },
    };
    await expect(issue({ request: { ...request, spki }, signer: counting })).rejects.toMatchObject({
      code: 'invalid_certificate',
    });
    expect(signed).toBe(0);
  });

  test('lets nothing out that a faulty signer signed', async () => {
    const faulty: Signer = {
      ...signer,
      sign: (data) => {
        const signature = signer.sign(data);
        signature[signature.length - 1] = (signature.at(-1) ?? 0) ^ 1;
        return signature;
      },
    };
    await expect(issue({ signer: faulty })).rejects.toMatchObject({ code: 'conflict' });
  });

  test("refuses a signer that is not the issuer's", async () => {
    await expect(issue({ signer: signerOf(keyOf('theirs')) })).rejects.toMatchObject({ code: 'conflict' });
  });

  test('ends no leaf after its authority, nor begins it before', async () => {
    const issuer = issuerOf(await rootOf('ec-p256'));
    const leaf = await issue({ issuer, notBefore: 0, notAfter: NOW + 99 * 24 * HOUR });
    expect(leaf.notAfter).toBe(issuer.certificate.notAfter);
    expect(leaf.notBefore).toBe(issuer.certificate.notBefore);
    await expect(
      issue({ notBefore: NOW + 98 * 24 * HOUR, notAfter: NOW + 99 * 24 * HOUR }),
    ).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('ends no leaf after the intermediates above its authority', async () => {
    const [, child, root] = await chainOf('ec-p256', 'ec-p256');
    if (child === undefined || root === undefined) throw new Error('three were made');
    expect(issuerOf(root, [child]).notAfter).toBe(child.notAfter);
  });

  test.each([
    ['of another trust domain', 'spiffe://other.org/area/payments/api', 'forbidden'],
    ['outside the path prefixes of its authority', 'spiffe://example.org/area/billing/api', 'forbidden'],
    ['that only begins like a path prefix', 'spiffe://example.org/area/payments-x/api', 'forbidden'],
    ["that is a trust domain's own", 'spiffe://example.org', 'forbidden'],
  ])('refuses an ID %s', async (_, id, code) => {
    const [, child] = await chainOf('ec-p256', 'ec-p256');
    if (child === undefined) throw new Error('three were made');
    const spiffeId = parseSpiffeId(id);
    await expect(
      issue({ spiffeId, issuer: issuerOf(child), signer: signerOf(keyOf('child')) }),
    ).rejects.toMatchObject({ code });
  });

  test.each([
    '*.example.org',
    'a..b',
    '-a',
    'a_b',
    'a\0b',
    'ä.de',
    '',
    `${'a'.repeat(64)}.de`,
    'a '.repeat(2),
  ])('refuses %j as a DNS name', async (name) => {
    await expect(issue({ dnsNames: [name] })).rejects.toMatchObject({ code: 'invalid_identity' });
  });

  test('leaves out a common name that is too long for one', async () => {
    const name = `${'a'.repeat(60)}.example.org`;
    const leaf = await issue({ dnsNames: [name] });
    expect(leaf.dnsNames).toEqual([name]);
    expect(leaf.subject).toBe('O=Interlock');
  });

  test("refuses a workload's certificate as an issuer", async () => {
    const leaf = await issue({});
    expect(() => issuerOf(leaf)).toThrow('cannot issue');
  });
});

describe('issuing an authority', () => {
  test.each([
    ['without prefixes', undefined],
    ['with prefixes that are wider', ['/area/']],
    ['with prefixes of which one is outside', ['/area/payments/eu/', '/b/']],
  ])('%s below a limited one is refused', async (_, prefixes) => {
    const root = await rootOf('ec-p256');
    const area = await issueAuthority({
      trustDomain: 'example.org',
      ...times,
      issuer: issuerOf(root),
      signer: signerOf(keyOf('root')),
      request: parseRequest(createRequest(keyOf('area'))),
      prefixes: ['/area/payments/'],
      random,
    });
    const below = { trustDomain: 'example.org', ...times, issuer: issuerOf(area), serial: newSerial(random) };
    const { spki } = signerOf(keyOf('below'));
    expect(() => authorityTemplate({ ...below, spki, prefixes })).toThrow('cannot give one');
    expect(authorityTemplate({ ...below, spki, prefixes: ['/area/payments/eu/'] }).prefixes).toEqual([
      '/area/payments/eu/',
    ]);
  });

  test('below one that may have none is refused, and path lengths go down by one', async () => {
    const [, child] = await chainOf('ec-p256', 'ec-p256');
    if (child === undefined) throw new Error('three were made');
    const { spki } = signerOf(keyOf('below'));
    const common = { trustDomain: 'example.org', ...times, spki, serial: newSerial(random) };
    expect(() =>
      authorityTemplate({ ...common, issuer: issuerOf(child), prefixes: ['/area/payments/'] }),
    ).toThrow('may have no authority below it');
    const signer = signerOf(keyOf('root'));
    const two = await issueAuthority({ ...common, pathLength: 2, signer, random });
    expect(authorityTemplate({ ...common, issuer: issuerOf(two) }).pathLength).toBe(1);
    expect(authorityTemplate({ ...common, issuer: issuerOf(two), pathLength: 5 }).pathLength).toBe(1);
    expect(authorityTemplate({ ...common, issuer: issuerOf(two), pathLength: 0 }).pathLength).toBe(0);
  });

  test('of another trust domain is refused', async () => {
    const issuer = issuerOf(await rootOf('ec-p256'));
    const { spki } = signerOf(keyOf('below'));
    const options = { trustDomain: 'other.org', ...times, spki, serial: newSerial(random), issuer };
    expect(() => authorityTemplate(options)).toThrow("not of its authority's trust domain");
  });

  test('until after 2049 writes its end in the longer form', async () => {
    const signer = signerOf(keyOf('root'));
    const notAfter = Date.UTC(2050, 0, 1);
    const root = await issueAuthority({ trustDomain: 'example.org', ...times, notAfter, signer, random });
    expect(root.notAfter).toBe(notAfter);
    expect(root.der.includes('20500101000000Z')).toBe(true);
    const before = await issueAuthority({
      trustDomain: 'example.org',
      ...times,
      notAfter: notAfter - 1000,
      signer,
      random,
    });
    expect(before.der.includes('20491231235959Z')).toBe(false);
    expect(before.der.includes('491231235959Z')).toBe(true);
    expect(new X509Certificate(root.der).validToDate.getTime()).toBe(notAfter);
  });
});

describe('a serial number', () => {
  test('is positive, of 16 bytes, and keeps 126 bits of what is random', () => {
    expect(newSerial(() => new Uint8Array(16)).toString('hex')).toBe('40000000000000000000000000000000');
    expect(newSerial(() => new Uint8Array(16).fill(0xff)).toString('hex')).toBe(
      '7fffffffffffffffffffffffffffffff',
    );
  });

  test('of another length is refused', async () => {
    const issuer = issuerOf(await rootOf('ec-p256'));
    const { spki } = signerOf(keyOf('leaf'));
    for (const serial of [Buffer.alloc(0), Buffer.alloc(16), Buffer.alloc(15, 1), Buffer.alloc(16, 0x80)])
      expect(() => leafTemplate({ spiffeId: API, ...times, issuer, spki, serial })).toThrow(RangeError);
  });
});

describe('the check of what was signed', async () => {
  const signer = signerOf(keyOf('root'));
  const issuer = issuerOf(await rootOf('ec-p256'));
  const { spki } = signerOf(keyOf('leaf'));
  const base = { spiffeId: API, ...times, issuer, spki, dnsNames: ['a.b'] };
  const template = leafTemplate({ ...base, serial: newSerial(random) });
  const der = signCertificate(template, signer);

  test('passes what was meant', async () => {
    expect((await checkIssued(der, template)).der).toEqual(der);
  });

  test.each([
    ['serial number', { serial: Buffer.alloc(16, 1) }],
    ['ID', { spiffeId: parseSpiffeId('spiffe://example.org/area/payments/ap') }],
    ['DNS names', { dnsNames: ['a.c'] }],
    ['number of DNS names', { dnsNames: [] }],
    ['begin', { notBefore: template.notBefore - 1000 }],
    ['end', { notAfter: template.notAfter + 1000 }],
    ['key', { spki: signerOf(keyOf('theirs')).spki }],
    ['key identifier', { subjectKeyId: Buffer.alloc(20) }],
    ['subject', { subjectName: template.issuerName }],
    ['issuer', { issuerName: template.subjectName }],
    ['kind', { kind: 'authority' as const }],
    ['prefixes', { prefixes: ['/a/'] }],
    ['path length', { pathLength: 0 }],
    ['issuer that signed', { issuer: undefined }],
  ])('finds another %s than was meant', (_, differences) => {
    expect(() => checkIssuedFields(der, { ...template, ...differences })).toThrow(
      'not the one that was meant',
    );
  });

  test('finds any one bit that is wrong in what was signed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: der.length * 8 - 1 }), async (bit) => {
        const wrong = Buffer.from(der);
        wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7));
        await expect(checkIssued(wrong, template)).rejects.toThrow(/malformed|not the one that was meant/);
      }),
      { numRuns: 300 },
    );
  });

  test('holds for every ID, name and time: what is read back is what was to be written', () => {
    const segment = fc
      .stringMatching(/^[A-Za-z0-9._-]{1,40}$/)
      .filter((text) => text !== '.' && text !== '..');
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 40 }),
        fc.array(fc.array(label, { minLength: 1, maxLength: 4 }), { maxLength: 20 }),
        fc.integer({ min: 1, max: 2_000_000_000 }),
        (segments, names, seconds) => {
          const spiffeId = parseSpiffeId(`spiffe://example.org/${segments.join('/')}`);
          const dnsNames = names.map((labels) => labels.join('.'));
          const notAfter = NOW + seconds * 1000;
          const one = leafTemplate({ ...base, spiffeId, dnsNames, notAfter, serial: newSerial(random) });
          const read = checkIssuedFields(signCertificate(one, signer), one);
          expect(read.spiffeId).toBe(spiffeId);
          expect(read.dnsNames).toEqual(dnsNames);
          expect(parseCertificate(read.der).der).toEqual(read.der);
        },
      ),
      { numRuns: 200 },
    );
  });
});
