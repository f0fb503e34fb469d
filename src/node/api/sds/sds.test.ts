import { create, fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { type ClientDuplexStream, type Client, type MethodDefinition, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { certificatesFromPem, pemOf } from '../../../identity/index.ts';
import { discovery, grpcService, sds, secret, spiffeValidator } from '../../../proto/index.ts';
import { ask, given, header, serveTest, States, testParts } from '../fixture.test-helper.ts';
import { sdsApi } from './sds.ts';
import { SECRET_TYPE } from './secrets.ts';

const api = grpcService(sds.SecretDiscoveryService);
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

async function fixture() {
  const made = await testParts();
  const served = await serveTest([[api, sdsApi(made.parts)]]);
  open.push(() => {
    served.close();
    made.svids.close();
  });
  return { ...made, client: served.client };
}

function converse<Request, Response>(client: Client, method: MethodDefinition<Request, Response>) {
  const call: ClientDuplexStream<Request, Response> = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    header(),
  );
  return { call, answers: new States<Response>(call as never) };
}

type Whole = Parameters<typeof create<typeof discovery.DiscoveryRequestSchema>>[1];
const whole = (request: Whole) =>
  create(discovery.DiscoveryRequestSchema, { typeUrl: SECRET_TYPE, ...request });
type Delta = Parameters<typeof create<typeof discovery.DeltaDiscoveryRequestSchema>>[1];
const delta = (request: Delta) =>
  create(discovery.DeltaDiscoveryRequestSchema, { typeUrl: SECRET_TYPE, ...request });

function secretsOf({ resources }: discovery.DiscoveryResponse): secret.Secret[] {
  return resources.map(({ value, typeUrl }) => {
    expect(typeUrl).toBe(SECRET_TYPE);
    return fromBinary(secret.SecretSchema, value);
  });
}

function text(source: { specifier: { case: string | undefined; value?: unknown } } | undefined): string {
  return Buffer.from(source?.specifier.value as Uint8Array).toString();
}

function trustDomains({ type }: secret.Secret): [string, string][] {
  if (type.case !== 'validationContext') throw new Error('no validation context');
  const { customValidatorConfig } = type.value;
  expect(customValidatorConfig?.name).toBe('envoy.tls.cert_validator.spiffe');
  const any = customValidatorConfig?.typedConfig;
  const config = any && anyUnpack(any, spiffeValidator.SPIFFECertValidatorConfigSchema);
  return (config?.trustDomains ?? []).map(({ name, trustBundle }) => [name, text(trustBundle)]);
}

describe('state-of-the-world SDS', () => {
  test.each(['default', 'spiffe://example.org/web'])('gives certificate and key under %s', async (name) => {
    const { client } = await fixture();
    const { call, answers } = converse(client, api.streamSecrets);
    call.write(whole({ resourceNames: [name] }));
    const [found] = secretsOf(await answers.next());
    if (found?.type.case !== 'tlsCertificate') throw new Error('no certificate');
    expect(found.name).toBe(name);
    const [leaf] = certificatesFromPem(text(found.type.value.certificateChain));
    expect(leaf?.spiffeId).toBe('spiffe://example.org/web');
    expect(text(found.type.value.privateKey)).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  });

  test('gives the bundle of each name with the SPIFFE validator, and ROOTCA and ALL at once', async () => {
    const { client, own, other, control } = await fixture();
    control.rules = () => [given('web', { federatesWith: ['other.example'] })];
    const { call, answers } = converse(client, api.streamSecrets);
    call.write(whole({ resourceNames: ['ROOTCA', 'ALL', 'spiffe://other.example'] }));
    const secrets = secretsOf(await answers.next());
    expect(secrets.map((found) => [found.name, trustDomains(found)])).toEqual([
      ['ROOTCA', [['example.org', pemOf(own.bundle)]]],
      [
        'ALL',
        [
          ['example.org', pemOf(own.bundle)],
          ['other.example', pemOf(other.bundle)],
        ],
      ],
      ['spiffe://other.example', [['other.example', pemOf(other.bundle)]]],
    ]);
  });

  test.each([false, true])(
    'keeps an Envoy at work while IDs move to another trust domain (its own has moved: %s)',
    async (moves) => {
      const { client, own, other, control, trust } = await fixture();
      trust.now = { ...trust.now, version: 2n, targets: ['other.example'] };
      control.moves = moves;
      const { call, answers } = converse(client, api.streamSecrets);
      const names = ['default', 'spiffe://example.org/web', 'spiffe://other.example/web', 'ROOTCA'];
      call.write(whole({ resourceNames: names }));
      const secrets = secretsOf(await answers.next());
      expect(secrets.map(({ name }) => name)).toEqual(names);
      for (const { type } of secrets.slice(0, 3)) {
        if (type.case !== 'tlsCertificate') throw new Error('no certificate');
        const [leaf] = certificatesFromPem(text(type.value.certificateChain));
        expect(leaf?.spiffeId).toBe(`spiffe://${moves ? 'other.example' : 'example.org'}/web`);
      }
      // It knows those that are before it on the way, and those behind.
      expect(secrets.slice(3).map(trustDomains)).toEqual([
        [
          ['example.org', pemOf(own.bundle)],
          ['other.example', pemOf(other.bundle)],
        ],
      ]);
    },
  );

  test.each([
    ['metadata of the node', { metadata: { disable_spiffe_cert_validation: true } }],
    ['the same as text', { metadata: { disable_spiffe_cert_validation: 'true' } }],
    [
      'Envoy 1.17',
      {
        userAgentVersionType: {
          case: 'userAgentBuildVersion' as const,
          value: { version: { majorNumber: 1, minorNumber: 17 } },
        },
      },
    ],
  ])('says trust as one list of roots for %s', async (_, node) => {
    const { client, own } = await fixture();
    const { call, answers } = converse(client, api.streamSecrets);
    call.write(whole({ resourceNames: ['ROOTCA'], node }));
    const [found] = secretsOf(await answers.next());
    if (found?.type.case !== 'validationContext') throw new Error('no validation context');
    expect(text(found.type.value.trustedCa)).toBe(pemOf(own.bundle));
  });

  test('gives everything to a request without names', async () => {
    const { client } = await fixture();
    const { call, answers } = converse(client, api.streamSecrets);
    call.write(whole({}));
    expect(secretsOf(await answers.next()).map(({ name }) => name)).toEqual([
      'spiffe://example.org/web',
      'spiffe://example.org',
    ]);
  });

  test('is quiet after an ACK, a NACK and a stale nonce, and answers to new names', async () => {
    const { client, logged } = await fixture();
    const { call, answers } = converse(client, api.streamSecrets);
    call.write(whole({ resourceNames: ['default'] }));
    const { nonce, versionInfo } = await answers.next();
    call.write(whole({ resourceNames: ['default'], responseNonce: nonce, versionInfo }));
    call.write(
      whole({ resourceNames: ['default'], responseNonce: nonce, errorDetail: { message: 'bad key' } }),
    );
    call.write(whole({ resourceNames: ['ROOTCA'], responseNonce: 'ffffffff' }));
    call.write(whole({ resourceNames: ['default', 'ROOTCA'], responseNonce: nonce, versionInfo }));
    const second = await answers.next();
    expect(secretsOf(second).map(({ name }) => name)).toEqual(['default', 'ROOTCA']);
    expect(second.nonce).not.toBe(nonce);
    expect(answers.waiting).toBe(0);
    expect(logged.map(({ message }) => message)).toEqual(['the proxy refused: bad key']);
  });

  test('pushes a new certificate as soon as there is one', async () => {
    const { client, svids } = await fixture();
    const { call, answers } = converse(client, api.streamSecrets);
    call.write(whole({ resourceNames: ['default', 'ROOTCA'] }));
    const first = secretsOf(await answers.next());
    svids.revoke(() => true);
    const second = secretsOf(await answers.next());
    expect(second[0]).not.toEqual(first[0]);
    expect(second[1]).toEqual(first[1]);
  });

  test.each(['spiffe://example.org/other', 'spiffe://other.example', 'nonsense'])(
    'ends the stream of a proxy that asks for %s, which is not its own',
    async (name) => {
      const { client } = await fixture();
      const { call, answers } = converse(client, api.streamSecrets);
      call.write(whole({ resourceNames: [name] }));
      await expect(answers.next()).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'workload is not authorized for the requested identities',
      });
    },
  );

  test('refuses another type and too many names', async () => {
    const { client } = await fixture();
    const type = converse(client, api.streamSecrets);
    type.call.write(whole({ typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' }));
    await expect(type.answers.next()).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    const many = converse(client, api.streamSecrets);
    many.call.write(whole({ resourceNames: Array.from({ length: 1001 }, String) }));
    await expect(many.answers.next()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test('keeps no long names, and no more than a line of what a proxy says against an answer', async () => {
    const { client, logged } = await fixture();
    const long = converse(client, api.streamSecrets);
    long.call.write(whole({ resourceNames: ['x'.repeat(2049)] }));
    await expect(long.answers.next()).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    for (const initialResourceVersions of [
      { ['x'.repeat(2049)]: '1' },
      { x: '1'.repeat(2049) },
      Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [String(i), '1'])),
    ]) {
      const kept = converse(client, api.deltaSecrets);
      kept.call.write(delta({ resourceNamesSubscribe: ['ROOTCA'], initialResourceVersions }));
      await expect(kept.answers.next()).rejects.toMatchObject({
        details: expect.stringMatching(/too long|more than 1000|longer/),
      });
    }
    const chatty = converse(client, api.streamSecrets);
    chatty.call.write(whole({ resourceNames: ['ROOTCA'] }));
    const { nonce: responseNonce } = await chatty.answers.next();
    const errorDetail = { code: 3, message: 'no'.repeat(100_000) };
    chatty.call.write(whole({ resourceNames: ['ROOTCA', 'default'], responseNonce, errorDetail }));
    await chatty.answers.next();
    expect(logged.at(-1)?.message.length).toBeLessThan(300);
  });

  test('answers single requests, and workloads without identity', async () => {
    const { client, control } = await fixture();
    const response = await ask(client, api.fetchSecrets, whole({ resourceNames: ['default'] }));
    expect(secretsOf(response)[0]?.name).toBe('default');
    control.rules = () => [];
    await expect(ask(client, api.fetchSecrets, whole({}))).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
  });
});

describe('delta SDS', () => {
  test('sends what is subscribed, then only what changed', async () => {
    const { client, svids } = await fixture();
    const { call, answers } = converse(client, api.deltaSecrets);
    call.write(delta({ resourceNamesSubscribe: ['default', 'ROOTCA'] }));
    const first = await answers.next();
    expect(first.resources.map(({ name }) => name)).toEqual(['default', 'ROOTCA']);
    call.write(delta({ responseNonce: first.nonce }));
    svids.revoke(() => true);
    const second = await answers.next();
    expect(second.resources.map(({ name }) => name)).toEqual(['default']);
    expect(second.resources[0]?.version).not.toBe(first.resources[0]?.version);
  });

  test('does not send again what the proxy kept from a stream before', async () => {
    const { client } = await fixture();
    const one = converse(client, api.deltaSecrets);
    one.call.write(delta({ resourceNamesSubscribe: ['ROOTCA'] }));
    const [kept] = (await one.answers.next()).resources;
    const two = converse(client, api.deltaSecrets);
    two.call.write(
      delta({
        resourceNamesSubscribe: ['ROOTCA', 'default'],
        initialResourceVersions: { ROOTCA: kept?.version ?? '' },
      }),
    );
    expect((await two.answers.next()).resources.map(({ name }) => name)).toEqual(['default']);
  });

  test('names what is gone to a proxy that wants everything', async () => {
    const { client, control, parts } = await fixture();
    control.rules = () => [given('a'), given('b')];
    const { call, answers } = converse(client, api.deltaSecrets);
    call.write(delta({}));
    expect((await answers.next()).resources.map(({ name }) => name)).toEqual([
      'spiffe://example.org/a',
      'spiffe://example.org/b',
      'spiffe://example.org',
    ]);
    control.rules = () => [given('b')];
    parts.workloads.rulesChanged();
    const next = await answers.next();
    expect(next.removedResources).toEqual(['spiffe://example.org/a']);
    expect(next.resources).toEqual([]);
  });

  test('says nothing more of a name that was unsubscribed', async () => {
    const { client, svids } = await fixture();
    const { call, answers } = converse(client, api.deltaSecrets);
    call.write(delta({ resourceNamesSubscribe: ['default', 'spiffe://example.org/web'] }));
    await answers.next();
    call.write(delta({ resourceNamesUnsubscribe: ['default'] }));
    call.write(delta({ resourceNamesSubscribe: ['ROOTCA'] }));
    await answers.next();
    svids.revoke(() => true);
    expect((await answers.next()).resources.map(({ name }) => name)).toEqual(['spiffe://example.org/web']);
  });
});
