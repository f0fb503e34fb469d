import { describe, expect, test } from 'vitest';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import { FromServerSchema } from '../../proto/index.ts';
import { given, testDomain } from '../api/fixture.test-helper.ts';
import { Link, type StreamHandlers } from '../link/link.ts';
import { ManualTimers, settle } from '../manual-timers.test-helper.ts';
import { jwtSigning, x509Signing } from './signing.ts';

describe('asking for a signature', () => {
  test('sends nothing that is larger than the control plane takes: it would end the stream of the whole node', async () => {
    const sent: unknown[] = [];
    const link = new Link({
      timers: new ManualTimers(),
      version: '1',
      open: async () => ({ send: (message) => sent.push(message.case), close: () => undefined }),
      held: () => ({ rulesVersion: 0n, serials: [] }),
      onRules: () => undefined,
      onBundles: () => undefined,
      onRevocations: () => undefined,
      onReplace: () => undefined,
      onOnline: () => undefined,
    });
    link.start();
    await settle();
    const labels = Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [`k${i}`, 'x'.repeat(4096)]));
    const attributes = { docker: { container_id: 'c', image: 'i', labels } };
    const refusal = { code: 'limit', message: expect.stringContaining('fewer labels') };
    await expect(x509Signing(link, 'ec-p256')(given('web'), attributes, undefined)).rejects.toMatchObject(
      refusal,
    );
    await expect(jwtSigning(link)(given('web'), attributes, ['a'])).rejects.toMatchObject(refusal);
    expect(sent).toEqual(['hello']);
    link.close();
  });
});

/** A link whose control plane answers each question with an SVID, or a token, for the ID. */
async function answering(spiffeId: string): Promise<Link> {
  const domain = await testDomain(trustDomainOf(parseSpiffeId(spiffeId)));
  let take: StreamHandlers['onMessage'] = () => undefined;
  const other = given('web', { spiffeId: parseSpiffeId(spiffeId) });
  const link = new Link({
    timers: new ManualTimers(Date.now()),
    version: '1',
    open: async ({ onMessage }) => {
      take = onMessage;
      return {
        send: async (message) => {
          if (message.case === 'signX509') {
            const { request, csr } = message.value;
            const { chain } = await domain.svid(other, csr);
            take(fromServer({ case: 'signedX509', value: { request, chain, authority: 'x' } }));
          } else if (message.case === 'signJwt') {
            const { token, issuedAt, expiresAt } = domain.jwt(other, ['db']);
            const times = { issuedAt: BigInt(issuedAt), expiresAt: BigInt(expiresAt) };
            take(
              fromServer({ case: 'signedJwt', value: { request: message.value.request, token, ...times } }),
            );
          }
        },
        close: () => undefined,
      };
    },
    held: () => ({ rulesVersion: 0n, serials: [] }),
    onRules: () => undefined,
    onBundles: () => undefined,
    onRevocations: () => undefined,
    onReplace: () => undefined,
    onOnline: () => undefined,
  });
  link.start();
  await settle();
  return link;
}

const fromServer = (message: Exclude<MessageInitShape<typeof FromServerSchema>['message'], undefined>) =>
  create(FromServerSchema, { message }).message;

describe('what the control plane signs', () => {
  const isTarget = (domain: string) => domain === 'b.example';

  test.each(['spiffe://example.org/web', 'spiffe://b.example/web'])(
    'is taken for %s: the ID that was asked for, or the same path where IDs move to',
    async (id) => {
      const link = await answering(id);
      const svid = await x509Signing(link, 'ec-p256', isTarget)(given('web'), {}, undefined);
      expect(svid.spiffeId).toBe(id);
      expect((await jwtSigning(link, isTarget)(given('web'), {}, ['db'])).spiffeId).toBe(id);
    },
  );

  test.each([
    'spiffe://c.example/web',
    'spiffe://b.example/other',
    'spiffe://b.example/web/more',
    'spiffe://example.org/other',
  ])('is not taken for %s', async (id) => {
    const link = await answering(id);
    const refusal = { message: expect.stringContaining('not asked for') };
    await expect(x509Signing(link, 'ec-p256', isTarget)(given('web'), {}, undefined)).rejects.toMatchObject(
      refusal,
    );
    await expect(jwtSigning(link, isTarget)(given('web'), {}, ['db'])).rejects.toMatchObject(refusal);
  });
});
