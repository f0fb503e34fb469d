import { X509Certificate } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { parseCertificates, parseJwtBundle, verifyX509Svid } from '../../identity/index.ts';
import {
  grpcService,
  JWTBundlesRequestSchema,
  JWTSVIDRequestSchema,
  SpiffeWorkloadAPI,
  ValidateJWTSVIDRequestSchema,
  X509BundlesRequestSchema,
  X509SVIDRequestSchema,
} from '../../proto/index.ts';
import { ask, follow, given, serveTest, testParts } from './fixture.test-helper.ts';
import { workloadApi } from './workload-api.ts';

const api = grpcService(SpiffeWorkloadAPI);
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

async function fixture() {
  const made = await testParts();
  const served = await serveTest([[api, workloadApi(made.parts)]]);
  open.push(() => {
    served.close();
    made.svids.close();
  });
  return { ...made, client: served.client };
}

const x509 = create(X509SVIDRequestSchema);

describe('a process that gets no identity', () => {
  test('is told of by its pid and attributes, whatever it asks for', async () => {
    const { client, control, nobody } = await fixture();
    control.rules = () => [];
    const refused = { code: status.PERMISSION_DENIED };
    await expect(follow(client, api.fetchX509SVID, x509).next()).rejects.toMatchObject(refused);
    const token = create(JWTSVIDRequestSchema, { audience: ['db'] });
    await expect(ask(client, api.fetchJWTSVID, token)).rejects.toMatchObject(refused);
    expect(nobody).toEqual(Array.from({ length: 2 }, () => ({ pid: 7, attributes: control.attributes })));
  });

  test('is not told of where it asks for an identity of another', async () => {
    const { client, nobody } = await fixture();
    const token = create(JWTSVIDRequestSchema, { audience: ['db'], spiffeId: 'spiffe://example.org/other' });
    await expect(ask(client, api.fetchJWTSVID, token)).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    expect(nobody).toEqual([]);
  });
});

describe('a workload of an estate in which IDs move to another trust domain', () => {
  const MOVED = 'spiffe://other.example/web';

  test('knows that domain before its own move, whatever its rule federates with', async () => {
    const { client, trust } = await fixture();
    expect(Object.keys((await follow(client, api.fetchX509SVID, x509).next()).federatedBundles)).toEqual([]);
    trust.now = { ...trust.now, version: 2n, targets: ['other.example'] };
    const { svids, federatedBundles } = await follow(client, api.fetchX509SVID, x509).next();
    expect(svids[0]?.spiffeId).toBe('spiffe://example.org/web');
    expect(Object.keys(federatedBundles)).toEqual(['spiffe://other.example']);
  });

  test('has after it the new ID with its own bundle, and federates with the domain that it left', async () => {
    const { client, own, other, control, trust } = await fixture();
    trust.now = { ...trust.now, version: 2n, targets: ['other.example'] };
    control.moves = true;
    const { svids, federatedBundles } = await follow(client, api.fetchX509SVID, x509).next();
    expect(svids[0]?.spiffeId).toBe(MOVED);
    expect(svids[0]?.bundle).toEqual(other.bundle.x509Authorities[0]);
    expect(federatedBundles).toEqual({ 'spiffe://example.org': own.bundle.x509Authorities[0] });
    // Tokens by either name are for the ID that it has, and are good by the bundles that it has.
    for (const spiffeId of ['', MOVED, 'spiffe://example.org/web']) {
      const wanted = create(JWTSVIDRequestSchema, { audience: ['db'], spiffeId });
      const [token] = (await ask(client, api.fetchJWTSVID, wanted)).svids;
      expect(token?.spiffeId).toBe(MOVED);
      const judged = create(ValidateJWTSVIDRequestSchema, { audience: 'db', svid: token?.svid ?? '' });
      expect((await ask(client, api.validateJWTSVID, judged)).spiffeId).toBe(MOVED);
    }
    const another = create(JWTSVIDRequestSchema, {
      audience: ['db'],
      spiffeId: 'spiffe://third.example/web',
    });
    await expect(ask(client, api.fetchJWTSVID, another)).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
  });
});

describe('FetchX509SVID', () => {
  test('gives the chain, the key that belongs to it, and the bundle that verifies it', async () => {
    const { client, own } = await fixture();
    const { svids } = await follow(client, api.fetchX509SVID, x509).next();
    expect(svids).toHaveLength(1);
    const [svid] = svids;
    if (svid === undefined) throw new Error('none');
    const chain = parseCertificates(svid.x509Svid);
    const bundles = new Map([['example.org', own.bundle]]);
    expect(verifyX509Svid(chain, { bundles, now: Date.now() }).spiffeId).toBe('spiffe://example.org/web');
    expect(svid.spiffeId).toBe('spiffe://example.org/web');
    expect(Buffer.from(svid.bundle)).toEqual(own.bundle.x509Authorities[0]);
    const { createPrivateKey } = await import('node:crypto');
    const key = createPrivateKey({ key: Buffer.from(svid.x509SvidKey), format: 'der', type: 'pkcs8' });
    expect(new X509Certificate(svid.x509Svid).checkPrivateKey(key)).toBe(true);
  });

  test('gives federated bundles to those whose rule says so, and to nobody else', async () => {
    const { client, control, other } = await fixture();
    expect(Object.keys((await follow(client, api.fetchX509SVID, x509).next()).federatedBundles)).toEqual([]);
    control.rules = () => [given('web', { federatesWith: ['other.example', 'unknown.example'] })];
    const { federatedBundles } = await follow(client, api.fetchX509SVID, x509).next();
    expect(Object.keys(federatedBundles)).toEqual(['spiffe://other.example']);
    expect(Buffer.from(federatedBundles['spiffe://other.example'] ?? [])).toEqual(
      other.bundle.x509Authorities[0],
    );
  });

  test('gives several identities in the order of their rules, each with its hint', async () => {
    const { client, control } = await fixture();
    control.rules = () => [given('a', { hint: 'internal' }), given('b', { hint: 'external' })];
    const { svids } = await follow(client, api.fetchX509SVID, x509).next();
    expect(svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([
      ['spiffe://example.org/a', 'internal'],
      ['spiffe://example.org/b', 'external'],
    ]);
  });

  test('sends the whole state anew when rules change, and only then', async () => {
    const { client, control, parts } = await fixture();
    const states = follow(client, api.fetchX509SVID, x509);
    const first = await states.next();
    parts.workloads.rulesChanged();
    parts.workloads.trustChanged();
    control.rules = () => [given('web'), given('second')];
    parts.workloads.rulesChanged();
    const second = await states.next();
    expect(second.svids.map(({ spiffeId }) => spiffeId)).toEqual([
      'spiffe://example.org/web',
      'spiffe://example.org/second',
    ]);
    expect(second.svids[0]?.x509Svid).toEqual(first.svids[0]?.x509Svid);
    expect(states.waiting).toBe(0);
  });

  test('ends the stream of a workload whose identity is revoked', async () => {
    const { client, control, parts } = await fixture();
    const states = follow(client, api.fetchX509SVID, x509);
    await states.next();
    control.revoked.add('spiffe://example.org/web');
    parts.workloads.rulesChanged();
    await expect(states.next()).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  });

  test('sends nothing more where the process that was attested has ended, whoever holds its socket', async () => {
    const { client, control, svids } = await fixture();
    const states = follow(client, api.fetchX509SVID, x509);
    await states.next();
    control.ended = true;
    svids.revoke(() => true);
    await expect(states.next()).rejects.toMatchObject({ code: status.UNAVAILABLE });
  });

  test('answers PermissionDenied to a workload without a rule, and says who asked in the log', async () => {
    const { client, control, logged } = await fixture();
    control.rules = () => [];
    await expect(follow(client, api.fetchX509SVID, x509).next()).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
      details: 'no identity issued',
    });
    expect(logged[0]?.fields).toMatchObject({ method: 'FetchX509SVID', status: status.PERMISSION_DENIED });
  });

  test('answers PermissionDenied where the control plane refuses to sign', async () => {
    const { client, control } = await fixture();
    control.refuse = new InterlockError('forbidden', 'web', 'not from here');
    await expect(follow(client, api.fetchX509SVID, x509).next()).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
  });

  test.each([
    ['no security header', []],
    ['the header twice', ['true', 'true']],
    ['another value', ['1']],
  ])('answers InvalidArgument to %s', async (_, values) => {
    const { client } = await fixture();
    const metadata = new Metadata();
    for (const value of values) metadata.add('workload.spiffe.io', value);
    await expect(follow(client, api.fetchX509SVID, x509, metadata).next()).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'security header missing from request',
    });
  });

  test('forgets a workload that hangs up', async () => {
    const { client, parts } = await fixture();
    const states = follow(client, api.fetchX509SVID, x509);
    await states.next();
    expect(parts.workloads.size).toBe(1);
    states.close();
    while (parts.workloads.size > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(parts.workloads.size).toBe(0);
  });
});

describe('bundles', () => {
  test('come as DER under the IDs of their trust domains', async () => {
    const { client, own } = await fixture();
    const { bundles } = await follow(client, api.fetchX509Bundles, create(X509BundlesRequestSchema)).next();
    expect(Object.keys(bundles)).toEqual(['spiffe://example.org']);
    expect(Buffer.from(bundles['spiffe://example.org'] ?? [])).toEqual(own.bundle.x509Authorities[0]);
  });

  test('come as key sets for JWT-SVIDs', async () => {
    const { client, own } = await fixture();
    const { bundles } = await follow(client, api.fetchJWTBundles, create(JWTBundlesRequestSchema)).next();
    const parsed = parseJwtBundle(bundles['spiffe://example.org'] ?? new Uint8Array(), 'example.org');
    expect(parsed.jwtAuthorities.map(({ keyId }) => keyId)).toEqual(
      own.bundle.jwtAuthorities.map(({ keyId }) => keyId),
    );
  });
});

describe('JWT-SVIDs', () => {
  test('are signed for the audience, one for each identity or for the one asked for, and validate', async () => {
    const { client, control } = await fixture();
    control.rules = () => [given('a'), given('b', { hint: 'h' })];
    const request = create(JWTSVIDRequestSchema, { audience: ['db'] });
    const { svids } = await ask(client, api.fetchJWTSVID, request);
    expect(svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([
      ['spiffe://example.org/a', ''],
      ['spiffe://example.org/b', 'h'],
    ]);
    const one = await ask(client, api.fetchJWTSVID, { ...request, spiffeId: 'spiffe://example.org/b' });
    expect(one.svids).toHaveLength(1);
    const svid = one.svids[0]?.svid ?? '';
    const valid = create(ValidateJWTSVIDRequestSchema, { audience: 'db', svid });
    const { spiffeId, claims } = await ask(client, api.validateJWTSVID, valid);
    expect(spiffeId).toBe('spiffe://example.org/b');
    expect(claims).toMatchObject({ sub: 'spiffe://example.org/b', aud: ['db'] });
    await expect(ask(client, api.validateJWTSVID, { ...valid, audience: 'web' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    const forged = `${svid.slice(0, -8)}AAAAAAAA`;
    await expect(ask(client, api.validateJWTSVID, { ...valid, svid: forged })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  });

  test.each([
    ['no audience', { audience: [] }, status.INVALID_ARGUMENT],
    ['an empty audience', { audience: [''] }, status.INVALID_ARGUMENT],
    ['too many audiences', { audience: Array.from({ length: 33 }, String) }, status.INVALID_ARGUMENT],
    ["another's identity", { audience: ['a'], spiffeId: 'spiffe://example.org/x' }, status.PERMISSION_DENIED],
  ])('are refused for %s', async (_, request, code) => {
    const { client } = await fixture();
    await expect(ask(client, api.fetchJWTSVID, create(JWTSVIDRequestSchema, request))).rejects.toMatchObject({
      code,
    });
  });
});
