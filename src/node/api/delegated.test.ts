import { create } from '@bufbuild/protobuf';
import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { parseCertificate } from '../../identity/index.ts';
import { delegated, grpcService } from '../../proto/index.ts';
import { delegatedApi } from './delegated.ts';
import { ask, follow, given, serveTest, testParts } from './fixture.test-helper.ts';

const api = grpcService(delegated.DelegatedIdentity);
const none = new Metadata();
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

/** The delegate is uid 1000; process 42 is a workload of uid 7. */
async function fixture() {
  const made = await testParts();
  const listeners = new Set<() => void>();
  const delegates = new Set<SpiffeId>([parseSpiffeId('spiffe://example.org/delegate')]);
  made.control.rules = ({ unix }) => (unix?.uid === 1000 ? [given('delegate')] : [given('app')]);
  const served = await serveTest([
    [
      api,
      delegatedApi({
        ...made.parts,
        delegates,
        attributesOfPid: async (pid) => {
          if (pid === 42) return { unix: { uid: 7, gid: 7, groups: [] } };
          throw new InterlockError('unavailable', `process ${pid}`, `process ${pid} went away`);
        },
        trust: () => made.trust.now.bundles,
        onTrust: (listener) => {
          listeners.add(listener);
          return () => void listeners.delete(listener);
        },
      }),
    ],
  ]);
  open.push(() => {
    served.close();
    made.svids.close();
  });
  return { ...made, client: served.client, listeners };
}

const about = (request: Parameters<typeof create<typeof delegated.SubscribeToX509SVIDsRequestSchema>>[1]) =>
  create(delegated.SubscribeToX509SVIDsRequestSchema, request);

describe('the Delegated Identity API', () => {
  test('gives a delegate the SVIDs of the process it names, not its own', async () => {
    const { client, control } = await fixture();
    control.rules = ({ unix }) =>
      unix?.uid === 1000 ? [given('delegate')] : [given('app', { federatesWith: ['other.example'] })];
    const answer = await follow(client, api.subscribeToX509SVIDs, about({ pid: 42 }), none).next();
    const [found] = answer.x509Svids;
    expect(found?.x509Svid?.id).toMatchObject({ trustDomain: 'example.org', path: '/app' });
    const leaf = parseCertificate(Buffer.from(found?.x509Svid?.certChain[0] ?? []));
    expect(leaf.spiffeId).toBe('spiffe://example.org/app');
    expect(found?.x509Svid?.expiresAt).toBe(BigInt(leaf.notAfter / 1000));
    expect(answer.federatesWith).toEqual(['spiffe://other.example']);
  });

  test('takes no selectors: a delegate could name any workload by them', async () => {
    const { client } = await fixture();
    const request = about({ selectors: [{ type: 'unix', value: 'uid:7' }] });
    await expect(follow(client, api.subscribeToX509SVIDs, request, none).next()).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(
      follow(client, api.subscribeToX509SVIDs, about({ ...request, pid: 42 }), none).next(),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('refuses a caller that is no delegate, in every call', async () => {
    const { client, control } = await fixture();
    control.rules = () => [given('somebody')];
    const denied = { code: status.PERMISSION_DENIED };
    await expect(
      follow(client, api.subscribeToX509SVIDs, about({ pid: 42 }), none).next(),
    ).rejects.toMatchObject(denied);
    await expect(
      follow(
        client,
        api.subscribeToX509Bundles,
        create(delegated.SubscribeToX509BundlesRequestSchema),
        none,
      ).next(),
    ).rejects.toMatchObject(denied);
    await expect(
      follow(
        client,
        api.subscribeToJWTBundles,
        create(delegated.SubscribeToJWTBundlesRequestSchema),
        none,
      ).next(),
    ).rejects.toMatchObject(denied);
    const jwt = create(delegated.FetchJWTSVIDsRequestSchema, { pid: 42, audience: ['db'] });
    await expect(ask(client, api.fetchJWTSVIDs, jwt, none)).rejects.toMatchObject(denied);
  });

  test('ends the stream of a delegate that is none any more', async () => {
    const { client, control, parts } = await fixture();
    const states = follow(client, api.subscribeToX509SVIDs, about({ pid: 42 }), none);
    await states.next();
    control.rules = ({ unix }) => (unix?.uid === 1000 ? [] : [given('app'), given('second')]);
    parts.workloads.rulesChanged();
    await expect(states.next()).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  });

  test('says that a process has gone', async () => {
    const { client } = await fixture();
    await expect(
      follow(client, api.subscribeToX509SVIDs, about({ pid: 43 }), none).next(),
    ).rejects.toMatchObject({ code: status.UNAVAILABLE, details: 'process 43 went away' });
  });

  test('follows the bundles of all trust domains', async () => {
    const { client, trust, other, listeners } = await fixture();
    const request = create(delegated.SubscribeToX509BundlesRequestSchema);
    const states = follow(client, api.subscribeToX509Bundles, request, none);
    expect(Object.keys((await states.next()).caCertificates)).toEqual([
      'spiffe://example.org',
      'spiffe://other.example',
    ]);
    trust.now = { ...trust.now, bundles: new Map([['other.example', other.bundle]]) };
    for (const listener of listeners) listener();
    expect(Object.keys((await states.next()).caCertificates)).toEqual(['spiffe://other.example']);
    const jwt = create(delegated.SubscribeToJWTBundlesRequestSchema);
    expect(Object.keys((await follow(client, api.subscribeToJWTBundles, jwt, none).next()).bundles)).toEqual([
      'spiffe://other.example',
    ]);
  });

  test('gives JWT-SVIDs of the process it names', async () => {
    const { client } = await fixture();
    const request = create(delegated.FetchJWTSVIDsRequestSchema, { pid: 42, audience: ['db'] });
    const { svids } = await ask(client, api.fetchJWTSVIDs, request, none);
    expect(svids[0]?.id).toMatchObject({ path: '/app' });
    expect(Number((svids[0]?.expiresAt ?? 0n) - (svids[0]?.issuedAt ?? 0n))).toBe(300);
    await expect(ask(client, api.fetchJWTSVIDs, { ...request, audience: [] }, none)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  });
});
